//! Which hosts become rows, and in which order: a jump before who needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::jumps::{self, Settling};
use super::resolved::Hop;
use crate::inventory::change;

/// A host as the file has it, with its address looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) alias: String,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    /// As in `ProxyJump`: the last is the one that dials it.
    pub(crate) jumps: Vec<Hop>,
    /// It has a `Host` line, and is not only somebody's jump.
    pub(crate) is_listed: bool,
}

/// A row to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    pub(crate) jump: Option<String>,
}

/// A host that does not become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) alias: String,
    pub(crate) why: String,
    pub(crate) kind: FailureKind,
}

/// Whether the same file can ever become a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The inventory has no form for what the file says.
    ByDesign,
    /// Something went wrong, which may be put right.
    Failed,
}

/// Orders hosts for each to come after its jump. A host is its name: two at one address stay two.
pub(crate) fn plan(candidates: Vec<Candidate>) -> (Vec<Planned>, Vec<Failure>) {
    let mut failures = Vec::new();
    let mut settling: BTreeMap<String, Settling> = BTreeMap::new();
    for candidate in candidates {
        match named(&candidate) {
            Ok(planned) if settling.contains_key(&planned.name) => failures.push(Failure {
                why: format!("another alias is `{}` in lower case, too", planned.name),
                alias: candidate.alias,
                kind: FailureKind::ByDesign,
            }),
            Ok(planned) => {
                let host = Settling {
                    is_port_said: candidate.is_listed,
                    jumps: candidate.jumps,
                    planned,
                };
                settling.insert(host.planned.name.clone(), host);
            }
            Err(why) => failures.push(Failure {
                alias: candidate.alias,
                why,
                kind: FailureKind::ByDesign,
            }),
        }
    }
    let names: Vec<String> = settling.keys().cloned().collect();
    for alias in names {
        if let Err(why) = jumps::settle(&mut settling, &alias) {
            settling.remove(&alias);
            failures.push(Failure {
                alias,
                why,
                kind: FailureKind::ByDesign,
            });
        }
    }
    let settled = settling.into_iter();
    let mut waiting: BTreeMap<String, Planned> =
        settled.map(|(name, host)| (name, host.planned)).collect();
    let (mut ordered, mut done) = (Vec::new(), BTreeSet::new());
    loop {
        let is_ready = |planned: &Planned| {
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
    // What is left waits for itself.
    failures.extend(waiting.into_values().map(|planned| Failure {
        why: format!(
            "its jump hosts form a circle: it is reached through `{}`",
            planned.jump.as_deref().unwrap_or_default()
        ),
        alias: planned.name,
        kind: FailureKind::Failed,
    }));
    (ordered, failures)
}

fn named(candidate: &Candidate) -> Result<Planned, String> {
    let lower = |alias: &String| change::name(&alias.to_lowercase());
    let jump = candidate.jumps.last().map(|hop| &hop.host);
    Ok(Planned {
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

    fn hop(text: &str) -> Hop {
        Hop::read(text).unwrap()
    }

    fn through(alias: &str, jumps: &[&str]) -> Candidate {
        Candidate {
            jumps: jumps.iter().map(|jump| hop(jump)).collect(),
            ..candidate(alias, None)
        }
    }

    /// `name user port jump` of each.
    fn rows(planned: &[Planned]) -> Vec<String> {
        let row = |host: &Planned| {
            let user = host.user.as_deref().unwrap_or("-");
            let jump = host.jump.as_deref().unwrap_or("-");
            format!("{} {user} {} {jump}", host.name, host.port)
        };
        planned.iter().map(row).collect()
    }

    #[test]
    fn every_host_of_a_list_of_jumps_is_reached_as_the_list_says() {
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
    fn who_is_led_another_way_than_the_inventory_has_is_refused() {
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
    fn a_jump_comes_before_who_needs_it() {
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
    fn who_cannot_be_a_row_is_named_and_the_others_are() {
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
}
