//! Judges the connection to the centre, and this host's clock.

use vctl_common::time::is_wrong_clock;

use super::super::facts::{Asked, CentreFact, CentreFacts, HostFacts, StreamFact};
use super::super::report::Finding;

pub(super) fn centre(facts: &HostFacts) -> Vec<Finding> {
    match &facts.centre {
        CentreFact::NotAsked => vec![Finding::pass("vault", "not asked: `--local`")],
        CentreFact::NotConfigured => {
            vec![Finding::pass(
                "vault",
                "Vault and Postgres are not configured: `collect --local` needs neither",
            )]
        }
        CentreFact::AwaitsEnrolment { has_file: true } => vec![Finding::warn(
            "enrolment",
            "/etc/vctl/enroll.json is not applied yet, so the records stay on this host",
            "print the reason: journalctl -u vctl-enroll",
        )],
        CentreFact::AwaitsEnrolment { has_file: false } => vec![Finding::warn(
            "enrolment",
            "this host is not enrolled yet, so its records stay here",
            "copy the file of `vctl host enroll HOST --out FILE` to /etc/vctl/enroll.json",
        )],
        CentreFact::Wrong(why) => vec![Finding::fail(
            "vault",
            why.clone(),
            "set `vault_addr`, `db_host` and `host` in /etc/vctl/agent.yaml",
        )],
        CentreFact::Asked(facts) => {
            let findings = [vault(facts), enrolled(facts), postgres(facts), clock(facts)];
            findings.into_iter().flatten().collect()
        }
    }
}

fn vault(facts: &CentreFacts) -> Option<Finding> {
    let addr = &facts.vault_addr;
    Some(match &facts.vault {
        Asked::Works(version) => {
            Finding::pass("vault", format!("{addr} answers, version {version}"))
        }
        Asked::Failed { why, hint } => Finding::fail(
            "vault",
            format!("{addr}: {why}"),
            hint.clone()
                .unwrap_or_else(|| "check `vault_addr`, and that the server runs".to_owned()),
        ),
        Asked::Waits | Asked::No => return None,
    })
}

fn enrolled(facts: &CentreFacts) -> Option<Finding> {
    let id = "enrolment";
    Some(match &facts.enrolled {
        Asked::Works(approle) => Finding::pass(id, format!("Vault knows this host as `{approle}`")),
        Asked::Waits => Finding::warn(
            id,
            "the secret id is wrapped and can be opened only once, so it and Postgres were not tried",
            "start the collector, which opens it, then run this again",
        ),
        Asked::Failed { why, hint } => Finding::fail(
            id,
            why.clone(),
            hint.clone()
                .unwrap_or_else(|| "enrol the host: vctl host enroll HOST".to_owned()),
        ),
        Asked::No => return None,
    })
}

fn postgres(facts: &CentreFacts) -> Option<Finding> {
    let id = "postgres";
    let addr = &facts.postgres_addr;
    Some(match &facts.postgres {
        Asked::Works(version) => Finding::pass(
            id,
            format!("{addr} accepts this host's login; the schema has version {version}"),
        ),
        Asked::Failed { why, hint } => Finding::fail(
            id,
            format!("{addr}: {why}"),
            hint.clone().unwrap_or_else(|| {
                "check `db_host` and `db_port`, and that the server runs".to_owned()
            }),
        ),
        Asked::Waits | Asked::No => return None,
    })
}

pub(super) fn stream(fact: &StreamFact) -> Option<Finding> {
    let id = "jetstream";
    let servers = &fact.servers;
    Some(match &fact.asked {
        Asked::Works(version) => Finding::pass(
            id,
            format!(
                "{servers} accepts this host's key, version {version}; `vctl session end` does not reach this host"
            ),
        ),
        Asked::Failed { why, hint } => Finding::fail(
            id,
            why.clone(),
            hint.clone()
                .unwrap_or_else(|| "check `nats_url`, and that the server runs".to_owned()),
        ),
        Asked::Waits | Asked::No => return None,
    })
}

fn clock(facts: &CentreFacts) -> Option<Finding> {
    let id = "centre_clock";
    let (server, ahead) = facts.clock?;
    let direction = if ahead < 0.0 { "behind" } else { "ahead of" };
    let seen = format!(
        "this host's clock is {:.1} s {direction} that of {server}",
        ahead.abs()
    );
    Some(if is_wrong_clock(whole(ahead)) {
        Finding::fail(
            id,
            format!("{seen}: sshd may reject valid certificates as expired or not yet valid"),
            "set the clock and start a time service: systemctl enable --now systemd-timesyncd",
        )
    } else {
        Finding::pass(id, seen)
    })
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "a cast of a float ends at the limits of the integer"
)]
fn whole(seconds: f64) -> i64 {
    seconds.trunc() as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    fn judged(facts: CentreFacts) -> Vec<(&'static str, Status)> {
        let facts = HostFacts {
            centre: CentreFact::Asked(Box::new(facts)),
            ..HostFacts::default()
        };
        let findings = centre(&facts).into_iter();
        findings
            .map(|finding| (finding.id, finding.status))
            .collect()
    }

    fn works() -> CentreFacts {
        CentreFacts {
            vault: Asked::Works("2.0".to_owned()),
            enrolled: Asked::Works("web-1".to_owned()),
            postgres: Asked::Works("18".to_owned()),
            clock: Some(("Postgres", -0.2)),
            ..CentreFacts::default()
        }
    }

    #[test]
    fn a_centre_that_takes_everything_passes() {
        let findings = judged(works());
        assert_eq!(findings.len(), 4);
        assert!(
            findings.iter().all(|(_, status)| *status == Status::Pass),
            "{findings:?}"
        );
    }

    #[test]
    fn a_host_that_awaits_its_enrolment_is_told_the_next_step() {
        for (has_file, part) in [
            (true, "journalctl -u vctl-enroll"),
            (false, "vctl host enroll"),
        ] {
            let facts = HostFacts {
                centre: CentreFact::AwaitsEnrolment { has_file },
                ..HostFacts::default()
            };
            let findings = centre(&facts);
            let [finding] = &*findings else {
                panic!("{findings:?}")
            };
            assert_eq!((finding.id, finding.status), ("enrolment", Status::Warn));
            assert!(finding.fix.as_ref().unwrap().contains(part), "{finding:?}");
        }
    }

    #[test]
    fn each_step_that_fails_is_named_and_ends_the_rest() {
        let failed = || Asked::failed("refused", None);
        let vault = CentreFacts {
            vault: failed(),
            ..CentreFacts::default()
        };
        assert_eq!(judged(vault), [("vault", Status::Fail)]);
        let enrolled = CentreFacts {
            enrolled: failed(),
            postgres: Asked::No,
            ..works()
        };
        assert!(judged(enrolled).contains(&("enrolment", Status::Fail)));
        let postgres = CentreFacts {
            postgres: failed(),
            ..works()
        };
        assert!(judged(postgres).contains(&("postgres", Status::Fail)));
        let wrapped = CentreFacts {
            enrolled: Asked::Waits,
            postgres: Asked::No,
            ..works()
        };
        assert!(judged(wrapped).contains(&("enrolment", Status::Warn)));
    }

    #[test]
    fn a_host_on_jetstream_has_a_limit_that_check_names() {
        let fact = |asked| StreamFact {
            servers: "tls://nats:4222".to_owned(),
            asked,
        };
        let works = stream(&fact(Asked::Works("2.15".to_owned()))).unwrap();
        assert!(works.status == Status::Pass && format!("{works:?}").contains("vctl session end"));
        let failed = stream(&fact(Asked::failed("refused", None))).unwrap();
        assert_eq!(failed.status, Status::Fail);
    }

    #[test]
    fn half_a_minute_is_a_wrong_clock_in_either_direction() {
        for (ahead, expected) in [
            (29.0, Status::Pass),
            (30.0, Status::Fail),
            (-600.0, Status::Fail),
            (10_800.0, Status::Fail),
        ] {
            let facts = CentreFacts {
                clock: Some(("Vault", ahead)),
                ..works()
            };
            assert!(
                judged(facts).contains(&("centre_clock", expected)),
                "{ahead}"
            );
        }
    }
}
