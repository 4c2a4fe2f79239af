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

impl Route {
    /// Finds the way to the host of this name among `hosts`. As `store/inventory_route.sql`.
    pub(crate) fn among(hosts: &[Host], target: &str) -> Result<Self, RouteError> {
        let mut chain: Vec<Host> = Vec::new();
        let mut next = Some(target);
        while let Some(name) = next
            && !chain.iter().any(|host| host.name == name)
            && let Some(host) = hosts.iter().find(|host| host.name == name)
        {
            next = host.jump_via.as_deref();
            chain.push(host.clone());
        }
        Self::of_chain(target, chain)
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
    fn a_way_among_hosts_ends_also_where_it_comes_back() {
        let mut hosts = chain(&[("web", Some("inner")), ("edge", None), ("other", None)]);
        hosts.extend(chain(&[("inner", Some("edge"))]));
        let names = |hosts: &[Host]| {
            let route = Route::among(hosts, "web");
            route.map(|route| {
                route
                    .hops
                    .into_iter()
                    .map(|hop| hop.name)
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(names(&hosts).unwrap(), ["edge", "inner", "web"]);
        hosts[1].jump_via = Some("inner".to_owned());
        assert!(matches!(names(&hosts), Err(RouteError::Cycle { .. })));
        hosts.truncate(1);
        assert!(matches!(names(&hosts), Err(RouteError::NoJump { .. })));
        assert!(matches!(names(&[]), Err(RouteError::Unknown(_))));
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
