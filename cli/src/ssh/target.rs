//! Lookup of the host to connect to, and of its jump hosts.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;

use tokio::time::timeout;

use super::deadlines;
use super::route_plan::{RoutePlan, SigningRole, Target, address_name};
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::lookup::HostLookup;
use crate::inventory::picker;
use crate::inventory::picker::PickerContext;
use crate::inventory::{Host, HostState, Route, address};
use crate::rbac;
use crate::rbac::command::GatedCommand;
use crate::rbac::lookup as grants_lookup;
use crate::rbac::lookup::{LookedUpGrants, PostgresAway};
use crate::ssh_ca;
use crate::ssh_ca::user_certificate::RoleSource;
use crate::ui::ask::{Interaction, confirmed};

/// Maximum number of candidates that an error lists.
const CANDIDATES: usize = 20;

/// The host as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostSelector {
    /// A host of the inventory: its name, one of its addresses, or a part of its name. A part needs a terminal: a
    /// script would act on another host once the meant one is gone.
    Part(String),
    /// Like `Part`, but the user confirms the host that a part of a name means, because a command runs there at once.
    PartForCommand(String),
    /// Like `Part`, but only the whole name or an address.
    Exact(String),
    /// The user chooses from a list.
    Any,
    /// An address, without the inventory.
    Address { user: String, addr: SocketAddr },
}

impl HostSelector {
    /// Returns whether a part of a name is enough.
    pub(super) fn accepts_part(&self, interaction: Interaction) -> bool {
        matches!(self, Self::Part(_) | Self::PartForCommand(_))
            && interaction == Interaction::Allowed
    }

    /// Parses `HOST` and `user@addr[:port]`; an IPv6 address with a port is in brackets.
    ///
    /// # Errors
    /// Without a user before `@` or an address after it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((user, addr)) = text.rsplit_once('@') else {
            return if text.is_empty() {
                Err("the host is empty".to_owned())
            } else {
                Ok(Self::Part(text.to_owned()))
            };
        };
        if user.is_empty() {
            return Err("the user before `@` is missing".to_owned());
        }
        let unbracketed = addr
            .strip_prefix('[')
            .and_then(|addr| addr.strip_suffix(']'))
            .unwrap_or(addr);
        let addr: SocketAddr = match unbracketed.parse::<IpAddr>() {
            Ok(ip) => SocketAddr::new(ip, 22),
            Err(_) => addr.parse().map_err(|_| {
                format!(
                    "`{addr}` is not an address: give a host of the inventory by its name alone"
                )
            })?,
        };
        Ok(Self::Address {
            user: user.to_owned(),
            addr,
        })
    }
}

/// A host that was looked up, and what the gate needs to decide whether the user may log in to it.
pub(crate) struct LookedUpHost {
    pub(crate) plan: RoutePlan,
    /// The hosts of the plan in the inventory; empty for an address.
    pub(crate) hosts: Vec<Host>,
    pub(crate) grants: LookedUpGrants,
}

/// Finds the host and the routes to it, and the grants of the user in the same round trip.
///
/// Does not check the grants: [`plan`](super::gate::plan) does, for every login with a certificate.
pub(crate) async fn look_up(
    lookup: &HostLookup<'_>,
    config: &Config,
    wanted: &HostSelector,
    interaction: Interaction,
) -> Result<LookedUpHost, Stop> {
    let (host, mount, grants) = match wanted {
        HostSelector::Address { user, addr } => {
            return Ok(look_up_address(lookup, config, user, *addr).await);
        }
        HostSelector::Any => choose(lookup, interaction).await?,
        HostSelector::Part(query)
        | HostSelector::PartForCommand(query)
        | HostSelector::Exact(query) => find_named(lookup, wanted, query, interaction).await?,
    };
    if interaction == Interaction::Allowed {
        lookup.record_use(&host.name);
    }
    let route = match host.jump_via {
        None => Route { hops: vec![host] },
        Some(_) => lookup.open().await?.route(&host.name).await?,
    };
    let Some(plan) = plan_of(&route, &mount, config) else {
        return Err(CliError::new(
            Exit::NotFound,
            "the inventory returned no route to the host",
        )
        .into());
    };
    Ok(LookedUpHost {
        plan,
        hosts: route.hops,
        grants,
    })
}

/// Returns the plan for an address, and the grants of the user. The inventory is not read.
async fn look_up_address(
    lookup: &HostLookup<'_>,
    config: &Config,
    user: &str,
    addr: SocketAddr,
) -> LookedUpHost {
    let name = address_name(addr);
    let scoped = rbac::scope::Target {
        dc: "",
        host: &name,
        user,
    };
    let (mount, grants) = without_inventory(lookup, &scoped).await;
    let mount = mount.as_deref().unwrap_or(lookup.ssh_mount());
    let target = address_target(config, user, addr, mount);
    LookedUpHost {
        plan: RoutePlan::new(Vec::new(), target, true),
        hosts: Vec::new(),
        grants,
    }
}

/// A host of the inventory, the mount that signs for it, and the grants of the user.
type InventoryHost = (Host, String, LookedUpGrants);

/// Returns the host that the user chooses from the whole inventory.
async fn choose(lookup: &HostLookup<'_>, interaction: Interaction) -> Result<InventoryHost, Stop> {
    let source = lookup.open().await?;
    let (hosts, mount, now, grants) = tokio::join!(
        source.hosts(),
        source.signing_mount(lookup.ssh_mount()),
        source.clock(),
        grants_lookup::of_source(lookup.context(), &source)
    );
    // The connection is returned to the pool while the user chooses.
    drop(source);
    let mut hosts = hosts?;
    hosts.retain(|host| host.state != HostState::Retired);
    let known = PickerContext {
        now: now?,
        recent: lookup.recently_used(),
    };
    let host = picker::choose(hosts, &known, interaction).await?;
    Ok((host, mount?, grants))
}

/// Returns the host that `query` of the selector means. The user chooses between several, if a part of a name is
/// enough.
async fn find_named(
    lookup: &HostLookup<'_>,
    wanted: &HostSelector,
    query: &str,
    interaction: Interaction,
) -> Result<InventoryHost, Stop> {
    let source = lookup.open().await?;
    // One round trip: the connection sends all queries before it waits.
    let (found, mount, now, grants) = tokio::join!(
        source.find(query),
        source.signing_mount(lookup.ssh_mount()),
        source.clock(),
        grants_lookup::of_source(lookup.context(), &source)
    );
    // The connection is returned to the pool while the user chooses.
    drop(source);
    let (found, mount) = (found?, mount?);
    let parts = wanted.accepts_part(interaction);
    let host = if parts && found.len() > 1 {
        let known = PickerContext {
            now: now?,
            recent: lookup.recently_used(),
        };
        picker::choose(found, &known, interaction).await?
    } else {
        let host = one_of(found, parts, query)?;
        if matches!(wanted, HostSelector::PartForCommand(_)) && !is_named(&host, query) {
            confirm_part(&host, query, interaction).await?;
        }
        host
    };
    Ok((host, mount, grants))
}

/// Returns the plan for a route of the inventory; `None` for a route without hosts.
pub(super) fn plan_of(route: &Route, mount: &str, config: &Config) -> Option<RoutePlan> {
    let hops = route.hops.iter().map(|host| Target::of(host, mount));
    let mut hops: Vec<Target> = hops.collect();
    let target = hops.pop()?;
    Some(RoutePlan::new(hops, target, config.ssh_direct_first))
}

/// Returns the target of an address that is not in the inventory.
pub(super) fn address_target(config: &Config, user: &str, addr: SocketAddr, mount: &str) -> Target {
    Target {
        name: address_name(addr),
        addr,
        user: user.to_owned(),
        dc: String::new(),
        roles: vec![SigningRole {
            name: config.ca_role.clone(),
            from: RoleSource::Setting,
            scope: None,
        }],
        mount: mount.to_owned(),
        clock_offset_s: None,
    }
}

/// Returns the mount that signs, and the grants of the user, for a host that is not looked up in the inventory. This
/// also works without the database: the address is known, and the grants may be cached. A slow database is awaited
/// unless the cached grants permit the login.
async fn without_inventory(
    lookup: &HostLookup<'_>,
    target: &rbac::scope::Target<'_>,
) -> (Option<String>, LookedUpGrants) {
    let (context, configured) = (lookup.context(), lookup.ssh_mount());
    let asked = async {
        let client = lookup.connect().await?;
        let (mount, grants) = tokio::join!(
            ssh_ca::store::signing_mount(&client, configured),
            rbac::store::caller_grants(&client)
        );
        Ok((mount.ok(), grants?))
    };
    let mut asked = pin!(asked);
    let in_time = timeout(deadlines::SIGNING_MOUNT, asked.as_mut()).await;
    let answer = if let Ok(answer) = in_time {
        answer
    } else {
        let slow = PostgresAway::Slow(deadlines::SIGNING_MOUNT);
        let command = GatedCommand::Ssh;
        let cached = grants_lookup::cached_permitting(context, command, target, &slow).await;
        if let Some(grants) = cached {
            lookup.note_away();
            return (None, Ok(grants));
        }
        asked.await
    };
    match answer {
        Ok((mount, grants)) => (mount, grants_lookup::of_answer(context, Ok(grants)).await),
        Err(error) => (None, grants_lookup::of_answer(context, Err(error)).await),
    }
}

/// Returns whether this is the whole name of the host, or one of its addresses.
pub(super) fn is_named(host: &Host, query: &str) -> bool {
    let is_address = |ip| host.addresses().contains(&ip);
    host.name.eq_ignore_ascii_case(query) || address(query).is_some_and(is_address)
}

/// Asks whether a command runs on the host that a part of its name means.
async fn confirm_part(host: &Host, query: &str, interaction: Interaction) -> Result<(), Stop> {
    let name = &host.name;
    let question =
        format!("`{query}` is a part of the name `{name}`. Run the command on `{name}`?");
    if confirmed(interaction, &question).await? {
        return Ok(());
    }
    let message = format!("the command was not run: no host is named `{query}`");
    Err(CliError::new(Exit::NotFound, message).into())
}

/// Returns the only matching host; `parts` are accepted beside whole names and addresses, or not.
///
/// # Errors
/// `NotFound` if there is none, or more than one.
pub(super) fn one_of(found: Vec<Host>, parts: bool, query: &str) -> Result<Host, CliError> {
    let is_wanted = |host: &Host| parts || is_named(host, query);
    let (mut found, others) = found.into_iter().partition::<Vec<_>, _>(is_wanted);
    if found.len() == 1
        && let Some(host) = found.pop()
    {
        return Ok(host);
    }
    let (what, candidates) = if found.is_empty() {
        (format!("the inventory has no host `{query}`"), others)
    } else {
        (
            format!("`{query}` is not a host name, but part of several"),
            found,
        )
    };
    let names = candidates.iter().map(|host| format!("`{}`", host.name));
    let mut names: Vec<String> = names.take(CANDIDATES).collect();
    if candidates.len() > CANDIDATES {
        names.push(format!("{} more", candidates.len() - CANDIDATES));
    }
    let error = if names.is_empty() {
        CliError::new(Exit::NotFound, what)
            .hint("`vctl list` shows the hosts, and `vctl sync` imports new ones")
    } else {
        CliError::new(Exit::NotFound, format!("{what}: {}", names.join(", ")))
            .hint("give the whole name of one of them; a part is enough only on a terminal and without `--yes`")
    };
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(user: &str, addr: &str) -> HostSelector {
        let (user, addr) = (user.to_owned(), addr.parse().unwrap());
        HostSelector::Address { user, addr }
    }

    #[test]
    fn part_of_a_name_is_enough_only_on_a_terminal() {
        use crate::inventory::tests::host;
        let one = |parts, query| one_of(vec![host("web-10")], parts, query);
        assert!(one(true, "web-1").is_ok());
        assert!(one(false, "WEB-10").is_ok());
        let error = one(false, "web-1").unwrap_err();
        assert!(error.message.contains("`web-10`"), "{error:?}");
        let part = HostSelector::Part("web-1".to_owned());
        assert!(part.accepts_part(Interaction::Allowed));
        for interaction in [
            Interaction::Never,
            Interaction::NoInput,
            Interaction::NoTerminal,
        ] {
            assert!(!part.accepts_part(interaction));
        }
        let exact = HostSelector::Exact("web-1".to_owned());
        assert!(!exact.accepts_part(Interaction::Allowed));
    }

    #[test]
    fn address_with_a_user_bypasses_the_inventory() {
        for (text, wanted) in [
            ("root@10.0.0.1", address("root", "10.0.0.1:22")),
            ("root@10.0.0.1:2222", address("root", "10.0.0.1:2222")),
            ("root@[fd00::1]:2222", address("root", "[fd00::1]:2222")),
            ("root@[fd00::1]", address("root", "[fd00::1]:22")),
            ("root@fd00::1", address("root", "[fd00::1]:22")),
            ("a@b@10.0.0.1", address("a@b", "10.0.0.1:22")),
            ("web-1", HostSelector::Part("web-1".to_owned())),
            ("10.0.0.1", HostSelector::Part("10.0.0.1".to_owned())),
        ] {
            assert_eq!(HostSelector::parse(text).as_ref(), Ok(&wanted), "{text}");
        }
        for text in [
            "",
            "@10.0.0.1",
            "root@",
            "root@web-1",
            "root@10.0.0.1:0x16",
            "root@10.0.0.1:99999",
        ] {
            assert!(HostSelector::parse(text).is_err(), "{text}");
        }
    }
}
