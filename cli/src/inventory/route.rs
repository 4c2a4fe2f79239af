//! The way to a host: through whom it is reached.

use super::Host;

/// The way to a host: outermost jump first, the target last. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) hops: Vec<Host>,
}

/// Why there is no way.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum RouteError {
    #[error("there is no host `{0}` in the inventory")]
    Unknown(String),
    #[error("the way to `{target}` never ends: it comes back to `{again}` ({way})")]
    Cycle {
        target: String,
        again: String,
        way: String,
    },
    #[error("`{host}` is reached through `{jump}`, which is not in the inventory")]
    NoJump { host: String, jump: String },
}

impl Route {
    /// Takes the target and what it is reached through, nearest first, as far as they were found and
    /// none twice.
    pub(crate) fn of_chain(target: &str, chain: Vec<Host>) -> Result<Self, RouteError> {
        let Some(outermost) = chain.last() else {
            return Err(RouteError::Unknown(target.to_owned()));
        };
        let Some(jump) = outermost.jump_via.clone() else {
            let mut hops = chain;
            hops.reverse();
            return Ok(Self { hops });
        };
        Err(if chain.iter().any(|host| host.name == jump) {
            RouteError::Cycle {
                target: target.to_owned(),
                way: way(&chain, &jump),
                again: jump,
            }
        } else {
            RouteError::NoJump {
                host: outermost.name.clone(),
                jump,
            }
        })
    }
}

/// More hops than this are not read by anybody.
const MOST: usize = 8;

/// Returns `web via jump-1 via jump-2 via jump-1`.
fn way(chain: &[Host], again: &str) -> String {
    let names = chain.iter().map(|host| host.name.as_str());
    let mut names: Vec<&str> = names.collect();
    if names.len() > MOST {
        names.truncate(MOST);
        names.push("..");
    }
    names.push(again);
    names.join(" via ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::host;
    use super::*;

    fn chain(hops: &[(&str, Option<&str>)]) -> Vec<Host> {
        let hop = |&(name, via): &(&str, Option<&str>)| Host {
            jump_via: via.map(str::to_owned),
            ..host(name)
        };
        hops.iter().map(hop).collect()
    }

    #[test]
    fn the_outermost_jump_is_first_and_the_target_last() {
        let chain = chain(&[
            ("web", Some("inner")),
            ("inner", Some("edge")),
            ("edge", None),
        ]);
        let route = Route::of_chain("web", chain).unwrap();
        let names: Vec<&str> = route.hops.iter().map(|hop| &*hop.name).collect();
        assert_eq!(names, ["edge", "inner", "web"]);
    }

    #[test]
    fn what_is_wrong_with_a_way_is_named() {
        let problem = |chain| Route::of_chain("web", chain).unwrap_err().to_string();
        assert_eq!(
            problem(chain(&[])),
            "there is no host `web` in the inventory"
        );
        assert_eq!(
            problem(chain(&[
                ("web", Some("a")),
                ("a", Some("b")),
                ("b", Some("a"))
            ])),
            "the way to `web` never ends: it comes back to `a` (web via a via b via a)"
        );
        assert_eq!(
            problem(chain(&[("web", Some("a")), ("a", Some("gone"))])),
            "`a` is reached through `gone`, which is not in the inventory"
        );
    }
}
