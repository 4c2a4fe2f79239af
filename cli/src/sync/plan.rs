//! Which hosts become rows, and in which order: a jump before who needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::inventory::change;

/// A host as the file has it, with its address looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) alias: String,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) user: Option<String>,
    /// The alias of the host through which it is reached.
    pub(crate) jump: Option<String>,
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
}

/// Orders hosts for each to come after its jump. A host is its name: two at one address stay two.
pub(crate) fn plan(candidates: Vec<Candidate>) -> (Vec<Planned>, Vec<Failure>) {
    let mut failures = Vec::new();
    let mut waiting: BTreeMap<String, Planned> = BTreeMap::new();
    for candidate in candidates {
        match named(&candidate) {
            Ok(planned) if waiting.contains_key(&planned.name) => failures.push(Failure {
                why: format!("another alias is `{}` in lower case, too", planned.name),
                alias: candidate.alias,
            }),
            Ok(planned) => drop(waiting.insert(planned.name.clone(), planned)),
            Err(why) => failures.push(Failure {
                alias: candidate.alias,
                why,
            }),
        }
    }
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
            "the way to it never ends: it is reached through `{}`",
            planned.jump.as_deref().unwrap_or_default()
        ),
        alias: planned.name,
    }));
    (ordered, failures)
}

fn named(candidate: &Candidate) -> Result<Planned, String> {
    let lower = |alias: &String| change::name(&alias.to_lowercase());
    let jump = candidate.jump.as_ref();
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
            jump: jump.map(str::to_owned),
        }
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
