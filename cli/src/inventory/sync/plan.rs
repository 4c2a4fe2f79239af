//! The hosts to import, in the order of their insertion: jump hosts first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::jumps::{self, PendingHost};
use super::planned_host::PlannedHost;
use super::resolved::ProxyJumpHop;
use crate::inventory::change;

/// A host of the file, with its resolved address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) alias: String,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    /// In the order of `ProxyJump`: the last one opens the connection to this host.
    pub(crate) jumps: Vec<ProxyJumpHop>,
    /// Whether it has a `Host` line, and is not only the jump host of another one.
    pub(crate) is_listed: bool,
}

/// A host that is not imported, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportFailure {
    pub(crate) alias: String,
    pub(crate) why: String,
    pub(crate) kind: FailureKind,
}

impl ImportFailure {
    /// Returns the failure of a host behind a missing jump host. Both fail for the same reason.
    pub(crate) fn of_missing_jump(
        host: &PlannedHost,
        missing: &BTreeMap<String, FailureKind>,
    ) -> Option<Self> {
        let jump = host.jump.as_ref()?;
        let &kind = missing.get(jump)?;
        Some(Self {
            alias: host.name.clone(),
            why: format!("its jump host `{jump}` was not imported"),
            kind,
        })
    }
}

/// The kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The inventory does not support this setting.
    Unsupported,
    /// An error that the user may be able to fix.
    Failed,
}

/// Orders hosts so that jump hosts come first. Two names with the same address are two hosts.
pub(crate) fn plan(candidates: Vec<Candidate>) -> (Vec<PlannedHost>, Vec<ImportFailure>) {
    let mut failures = Vec::new();
    let mut pending: BTreeMap<String, PendingHost> = BTreeMap::new();
    for candidate in candidates {
        match named(&candidate) {
            Ok(planned) if pending.contains_key(&planned.name) => failures.push(ImportFailure {
                why: format!("another name is also `{}` in lower case", planned.name),
                alias: candidate.alias,
                kind: FailureKind::Unsupported,
            }),
            Ok(planned) => {
                let host = PendingHost {
                    is_port_set: candidate.is_listed,
                    jumps: candidate.jumps,
                    planned,
                };
                pending.insert(host.planned.name.clone(), host);
            }
            Err(why) => failures.push(ImportFailure {
                alias: candidate.alias,
                why,
                kind: FailureKind::Unsupported,
            }),
        }
    }
    let names: Vec<String> = pending.keys().cloned().collect();
    for alias in names {
        if let Err(why) = jumps::settle(&mut pending, &alias) {
            pending.remove(&alias);
            failures.push(ImportFailure {
                alias,
                why,
                kind: FailureKind::Unsupported,
            });
        }
    }
    let settled = pending.into_iter();
    let mut waiting: BTreeMap<String, PlannedHost> =
        settled.map(|(name, host)| (name, host.planned)).collect();
    let (mut ordered, mut done) = (Vec::new(), BTreeSet::new());
    loop {
        let is_ready = |planned: &PlannedHost| {
            let jump = planned.jump.as_ref();
            jump.is_none_or(|jump| done.contains(jump) || !waiting.contains_key(jump))
        };
        let ready: Vec<String> = waiting
            .values()
            .filter(|planned| is_ready(planned))
            .map(|planned| planned.name.clone())
            .collect();
        if ready.is_empty() {
            break;
        }
        ordered.extend(ready.iter().filter_map(|name| waiting.remove(name)));
        done.extend(ready);
    }
    // The remaining hosts form loops.
    failures.extend(waiting.into_values().map(|planned| ImportFailure {
        why: format!(
            "its jump hosts form a loop through `{}`",
            planned.jump.as_deref().unwrap_or_default()
        ),
        alias: planned.name,
        kind: FailureKind::Failed,
    }));
    (ordered, failures)
}

fn named(candidate: &Candidate) -> Result<PlannedHost, String> {
    let lower = |alias: &String| change::name(&alias.to_lowercase());
    let jump = candidate.jumps.last().map(|hop| &hop.host);
    Ok(PlannedHost {
        name: lower(&candidate.alias)?,
        ip: candidate.ip,
        port: candidate.port,
        user: candidate.user.clone(),
        jump: jump.map(lower).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(alias: &str, jump: Option<&str>) -> Candidate {
        Candidate {
            alias: alias.to_owned(),
            ip: "192.0.2.1".parse().unwrap(),
            port: 22,
            user: None,
            jumps: jump.iter().map(|jump| hop(jump)).collect(),
            is_listed: true,
        }
    }

    fn hop(text: &str) -> ProxyJumpHop {
        ProxyJumpHop::read(text).unwrap()
    }

    fn through(alias: &str, jumps: &[&str]) -> Candidate {
        Candidate {
            jumps: jumps.iter().map(|jump| hop(jump)).collect(),
            ..candidate(alias, None)
        }
    }

    /// `name user port jump` of each.
    fn rows(planned: &[PlannedHost]) -> Vec<String> {
        let row = |host: &PlannedHost| {
            let user = host.user.as_deref().unwrap_or("-");
            let jump = host.jump.as_deref().unwrap_or("-");
            format!("{} {user} {} {jump}", host.name, host.port)
        };
        planned.iter().map(row).collect()
    }

    #[test]
    fn jump_hosts_get_the_values_of_the_list() {
        let unlisted = Candidate {
            is_listed: false,
            ..candidate("edge", None)
        };
        let (planned, failures) = plan(vec![
            through("web", &["alice@Edge:2200", "inner"]),
            through("db", &["edge", "inner"]),
            candidate("inner", None),
            unlisted,
        ]);
        assert_eq!(failures, []);
        let expected = [
            "edge alice 2200 -",
            "inner - 22 edge",
            "db - 22 inner",
            "web - 22 inner",
        ];
        assert_eq!(rows(&planned), expected);
    }

    #[test]
    fn a_contradicting_jump_list_is_refused() {
        let refused = |jumps: &[&str]| {
            let mut edge = candidate("edge", None);
            edge.user = Some("root".to_owned());
            let all = vec![
                through("web", jumps),
                candidate("inner", Some("edge")),
                candidate("other", None),
                edge,
            ];
            let (planned, mut failures) = plan(all);
            assert_eq!(planned.len(), 3, "{jumps:?}");
            let failure = failures.pop().unwrap();
            assert_eq!(failure.alias, "web");
            failure.why
        };
        let why = refused(&["other", "inner"]);
        assert!(
            why.contains("through `other`") && why.contains("through `edge`"),
            "{why}"
        );
        assert!(refused(&["bob@edge"]).contains("as `bob`"));
        assert!(refused(&["edge:2200"]).contains("port 2200"));
        let (planned, failures) = plan(vec![
            through("a", &["one", "inner"]),
            through("b", &["two", "inner"]),
            candidate("inner", None),
            candidate("one", None),
            candidate("two", None),
        ]);
        assert_eq!((planned.len(), failures.len()), (4, 1));
        assert_eq!(failures[0].alias, "b");
    }

    #[test]
    fn jump_hosts_come_before_their_hosts() {
        let (planned, failures) = plan(vec![
            candidate("a-web", Some("inner")),
            candidate("inner", Some("Zone")),
            candidate("Zone", None),
            candidate("later", Some("known-already")),
        ]);
        let names: Vec<&str> = planned.iter().map(|planned| &*planned.name).collect();
        assert_eq!(names, ["later", "zone", "inner", "a-web"]);
        assert_eq!(failures, []);
    }

    #[test]
    fn unsupported_hosts_are_reported_and_others_imported() {
        let (planned, failures) = plan(vec![
            candidate("a", Some("b")),
            candidate("b", Some("a")),
            candidate("web", None),
            candidate("WEB", None),
            candidate("bad/name", None),
        ]);
        assert_eq!(planned.len(), 1);
        let failed: Vec<&str> = failures.iter().map(|failure| &*failure.alias).collect();
        assert_eq!(failed, ["WEB", "bad/name", "a", "b"]);
    }

    #[test]
    fn a_host_fails_for_the_reason_of_its_jump_host() {
        let (planned, _) = plan(vec![
            candidate("edge", None),
            candidate("web-1", Some("edge")),
        ]);
        let missing = BTreeMap::from([("edge".to_owned(), FailureKind::Unsupported)]);
        assert_eq!(ImportFailure::of_missing_jump(&planned[0], &missing), None);
        assert_eq!(
            ImportFailure::of_missing_jump(&planned[1], &BTreeMap::new()),
            None
        );
        let failure = ImportFailure::of_missing_jump(&planned[1], &missing).unwrap();
        assert_eq!(failure.alias, "web-1");
        assert_eq!(failure.kind, FailureKind::Unsupported);
    }
}
