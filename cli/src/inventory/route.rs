//! The route to a host: its jump hosts.

use super::Host;

/// The route to a host: the first jump host first, the target last. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) hops: Vec<Host>,
}

/// The reason why there is no route.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum RouteError {
    #[error("there is no host `{0}` in the inventory")]
    Unknown(String),
    #[error("the jump hosts of `{target}` form a loop at `{again}` ({chain})")]
    Cycle {
        target: String,
        again: String,
        chain: String,
    },
    #[error("the jump host `{jump}` of `{host}` is not in the inventory")]
    NoJump { host: String, jump: String },
}

impl Route {
    /// Builds the route from the target and its jump hosts: the target first, up to the first host that is
    /// missing or already in the list.
    pub(crate) fn from_chain(target: &str, chain: Vec<Host>) -> Result<Self, RouteError> {
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
                chain: via(&chain, &jump),
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
    /// Finds the route to a host among `hosts`. Must match `inventory_route.sql`.
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
        Self::from_chain(target, chain)
    }
}

/// Maximum number of hops in an error.
const MOST: usize = 8;

/// Returns `web via jump-1 via jump-2 via jump-1`.
fn via(chain: &[Host], again: &str) -> String {
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
    fn the_first_jump_host_is_first_and_the_target_last() {
        let chain = chain(&[
            ("web", Some("inner")),
            ("inner", Some("edge")),
            ("edge", None),
        ]);
        let route = Route::from_chain("web", chain).unwrap();
        let names: Vec<&str> = route.hops.iter().map(|hop| &*hop.name).collect();
        assert_eq!(names, ["edge", "inner", "web"]);
    }

    #[test]
    fn a_loop_of_jump_hosts_ends_the_search() {
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
    fn an_error_of_a_route_names_the_hosts() {
        let problem = |chain| Route::from_chain("web", chain).unwrap_err().to_string();
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
            "the jump hosts of `web` form a loop at `a` (web via a via b via a)"
        );
        assert_eq!(
            problem(chain(&[("web", Some("a")), ("a", Some("gone"))])),
            "the jump host `gone` of `a` is not in the inventory"
        );
    }
}
