//! The access-log entries for the certificate of a session, as lines of its header.

use std::fmt::Write as _;

use super::fact::HeaderFact;
use crate::session::model::provenance::{AccessRequest, Ca, Provenance};
use crate::ui::sanitize::text;
use crate::ui::time;

pub(crate) fn facts(provenance: &Provenance) -> Vec<HeaderFact> {
    let Some(ca) = &provenance.ca else {
        return Vec::new();
    };
    let mut facts = Vec::new();
    facts.extend(
        provenance
            .own()
            .map(|request| HeaderFact::new("asked", asked(request))),
    );
    let Some(requests) = &provenance.requests else {
        return facts;
    };
    if *ca != Ca::Unknown && provenance.own().next().is_none() {
        facts.push(HeaderFact::warning(
            "asked",
            "not on record: the access log has no entry by this person with this certificate"
                .to_owned(),
        ));
    }
    facts.extend(provenance.contested().map(|request| {
        let who = text(request.person.display_name());
        let claim = format!(
            "also by {who}, {}: not the person whom the certificate names",
            asked(request)
        );
        HeaderFact::warning("asked", claim)
    }));
    if requests.more {
        facts.push(HeaderFact::new(
            "asked",
            "the access log has more entries than are shown".to_owned(),
        ));
    }
    facts
}

fn asked(request: &AccessRequest) -> String {
    let mut asked = time::millis(request.at);
    match (request.source_ip, request.source_port) {
        (Some(ip), Some(port)) => {
            let _ = write!(asked, " from {ip} port {port}");
        }
        (Some(ip), None) => {
            let _ = write!(asked, " from {ip}");
        }
        (None, _) => {}
    }
    match (&request.client_user, &request.client_host) {
        (Some(user), Some(host)) => {
            let _ = write!(asked, " by {}@{}", text(user), text(host));
        }
        (Some(user), None) => {
            let _ = write!(asked, " by {}", text(user));
        }
        (None, Some(host)) => {
            let _ = write!(asked, " on {}", text(host));
        }
        (None, None) => {}
    }
    let way = if request.is_hop {
        ", on the way to "
    } else {
        ", for "
    };
    asked + way + &text(&request.host)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use vctl_common::person::Person;

    use super::*;
    use crate::fixture::rendered;
    use crate::session::model::provenance::AccessRequests;

    fn request(person: &str) -> AccessRequest {
        AccessRequest {
            person: Person::new(person),
            at: UNIX_EPOCH + Duration::from_secs(1_795_467_650),
            host: "web-1".to_owned(),
            is_hop: false,
            source_ip: "192.0.2.7".parse().ok(),
            source_port: Some(51514),
            client_user: Some("al".to_owned()),
            client_host: Some("laptop".to_owned()),
        }
    }

    fn shown(requests: Vec<AccessRequest>, ca: Ca) -> String {
        let provenance = Provenance {
            person: (ca != Ca::Unknown).then(|| Person::new("oidc-albert")),
            ca: Some(ca),
            requests: Some(AccessRequests {
                rows: requests,
                more: false,
            }),
            unheard: false,
        };
        rendered(|out| {
            facts(&provenance)
                .iter()
                .try_for_each(|fact| writeln!(out, "{} {}", fact.name, fact.text))
        })
    }

    fn ours() -> Ca {
        Ca::Ours {
            mount: "ssh".to_owned(),
        }
    }

    #[test]
    fn request_is_shown_with_its_source() {
        assert_eq!(
            shown(vec![request("oidc-albert")], ours()),
            "asked 2026-11-23T21:00:50.000Z from 192.0.2.7 port 51514 by al@laptop, for web-1\n"
        );
    }

    #[test]
    fn request_of_another_person_is_shown_as_such() {
        let shown = shown(vec![request("oidc-mallory")], ours());
        assert!(
            shown.contains("not on record: the access log has no entry by this person"),
            "{shown}"
        );
        assert!(shown.contains("also by oidc-mallory"), "{shown}");
        assert!(
            shown.contains("not the person whom the certificate names"),
            "{shown}"
        );
    }

    #[test]
    fn certificate_of_another_ca_has_no_requests() {
        assert_eq!(shown(Vec::new(), Ca::Unknown), "");
    }
}
