//! Whether a session's name is proven: lines of its header, and words of a list.

use super::fact::HeaderFact;
use crate::session::model::Session;
use crate::session::model::identity::{Contradiction, Proof, UnprovenReason};
use crate::session::model::provenance::Ca;
use crate::ui::sanitize::text;

pub(crate) fn facts(session: &Session) -> Vec<HeaderFact> {
    let identity = &session.identity;
    let mut facts: Vec<HeaderFact> = signed(session).into_iter().collect();
    let contradicting = identity.contradicting();
    facts.extend(contradicting.map(|one| HeaderFact::warning("doubt", sentence(one).to_owned())));
    let remarks = identity.remarks();
    facts.extend(remarks.map(|one| HeaderFact::new("remark", sentence(one).to_owned())));
    facts
}

/// Returns the words shown beside the name in a list: `contradicted (host, account)`, `unknown CA`.
pub(crate) fn words(session: &Session) -> Option<String> {
    let identity = &session.identity;
    let contradicting: Vec<String> = identity
        .contradicting()
        .map(|one| one.word().replace('_', " "))
        .collect();
    if !contradicting.is_empty() {
        return Some(format!("contradicted ({})", contradicting.join(", ")));
    }
    match identity.proof {
        Proof::Unproven(UnprovenReason::UnknownCa) => Some("unknown CA".to_owned()),
        _ => None,
    }
}

fn signed(session: &Session) -> Option<HeaderFact> {
    let central = session.provenance.as_ref();
    let ca = match central.and_then(|provenance| provenance.ca.as_ref()) {
        Some(Ca::Ours { mount }) => format!("our own CA, Vault mount {}", text(mount)),
        _ => "a CA that this host trusts".to_owned(),
    };
    let reason = match &session.identity.proof {
        Proof::Verified { .. } => {
            return Some(HeaderFact::new("signed", format!("by {ca}, verified")));
        }
        Proof::Unproven(reason) => reason,
    };
    let reported = |why: &str| format!("by {ca}, as the host reports; not verified: {why}");
    let said = match reason {
        UnprovenReason::NoCertificate => return None,
        UnprovenReason::UnknownCa => {
            let ca = if central.is_some() {
                "is not one of ours"
            } else {
                "is not in TrustedUserCAKeys of this host"
            };
            format!("by a CA that {ca}: the name is taken from the certificate and proves nothing")
        }
        UnprovenReason::CasUnknown(why) => format!(
            "not verified: the CAs that this host trusts could not be read ({})",
            text(why)
        ),
        // Neither of the next two reasons makes a login suspicious.
        UnprovenReason::OlderAgent => {
            let why = "recorded by an older agent, which did not store the certificate";
            return Some(HeaderFact::new("signed", reported(why)));
        }
        UnprovenReason::TooLarge => reported("the certificate was too large to store"),
        UnprovenReason::Unreadable => {
            reported("the certificate that the host stored cannot be read")
        }
        UnprovenReason::HostCertificate => {
            reported("the host stored a host certificate, not a user certificate")
        }
        UnprovenReason::BadSignature => reported("the signature is not that of the CA"),
        UnprovenReason::OtherCertificate => reported("the host stored a different certificate"),
    };
    Some(HeaderFact::warning("signed", said))
}

fn sentence(contradiction: Contradiction) -> &'static str {
    match contradiction {
        Contradiction::Certificate => {
            "certificate: the certificate that the host stored does not prove what the host reports"
        }
        Contradiction::Validity => "validity: the certificate was not valid at this time",
        Contradiction::Host => {
            "host: the access log has no entry for this host with this certificate"
        }
        Contradiction::Account => "account: the certificate or the access is for another account",
        Contradiction::AccessTime => {
            "access time: the login was before the access was requested, or after it ended"
        }
        Contradiction::SourcePort => {
            "source port: the client requested access from this address, but from another port"
        }
        Contradiction::TwoHosts => {
            "two hosts: another host reports a session with this certificate"
        }
        Contradiction::SecondSession => {
            "second session: a certificate is for one connection, but this host reports several"
        }
        Contradiction::SerialReused => {
            "serial reused: another session has the same CA and serial, but another key id"
        }
        Contradiction::UnknownCa => {
            "unknown CA: the key id is the name of one of our users, but no CA of ours signed it"
        }
        Contradiction::SourceAddress => {
            "source address: the client requested access from another address; NAT and proxies cause this too"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Login, assert_golden, rendered};
    use crate::session::text::header;

    fn session(reason: UnprovenReason, contradictions: &[Contradiction]) -> Session {
        let mut session = Login::of_alice().closed().session;
        session.identity.proof = Proof::Unproven(reason);
        session.identity.contradictions = contradictions.iter().copied().collect();
        session
    }

    #[test]
    fn unproven_name_is_marked() {
        let proven = Login::of_alice().closed().session;
        assert_eq!(header::who(&proven), "alice@example.org");
        for reason in [
            UnprovenReason::UnknownCa,
            UnprovenReason::CasUnknown("x".to_owned()),
            UnprovenReason::OlderAgent,
            UnprovenReason::TooLarge,
            UnprovenReason::BadSignature,
        ] {
            let shown = header::who(&session(reason, &[]));
            assert_eq!(shown, "?alice@example.org");
        }
        let mut replayed = proven;
        replayed.identity.contradictions.insert(Contradiction::Host);
        assert_eq!(header::who(&replayed), "?alice@example.org");
    }

    #[test]
    fn header_says_whether_a_name_is_proven() {
        let page = rendered(|out| {
            for reason in [
                UnprovenReason::UnknownCa,
                UnprovenReason::CasUnknown("no \u{1b}[2J".to_owned()),
                UnprovenReason::OlderAgent,
                UnprovenReason::TooLarge,
                UnprovenReason::Unreadable,
                UnprovenReason::HostCertificate,
                UnprovenReason::BadSignature,
                UnprovenReason::OtherCertificate,
            ] {
                for fact in facts(&session(reason, &[])) {
                    writeln!(out, "{} {}", fact.name, fact.text)?;
                }
            }
            let all = [
                Contradiction::Certificate,
                Contradiction::Validity,
                Contradiction::Host,
                Contradiction::Account,
                Contradiction::AccessTime,
                Contradiction::SourcePort,
                Contradiction::TwoHosts,
                Contradiction::SecondSession,
                Contradiction::SerialReused,
                Contradiction::UnknownCa,
                Contradiction::SourceAddress,
            ];
            let contradicted = session(UnprovenReason::UnknownCa, &all);
            writeln!(out, "{}", words(&contradicted).unwrap())?;
            for fact in facts(&contradicted) {
                writeln!(out, "{} {}", fact.name, fact.text)?;
            }
            Ok(())
        });
        assert_golden("identity.txt", &page);
        assert!(!page.contains('\u{1b}'), "{page}");
    }
}
