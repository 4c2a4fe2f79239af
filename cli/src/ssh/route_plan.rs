//! A target and the routes to it, as plain data.

use std::net::SocketAddr;

use crate::inventory::Host;
use crate::ssh_ca::user_certificate::RoleSource;

/// A host to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name under which its host key is stored: the inventory's name, or the address.
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) user: String,
    pub(crate) ca_role: String,
    pub(crate) role_from: RoleSource,
    /// Mount of the CA that signs.
    pub(crate) mount: String,
    /// Seconds by which its clock was ahead when its agent last reported.
    pub(crate) clock_offset_s: Option<i64>,
}

impl Target {
    pub(crate) fn of(host: &Host, mount: &str) -> Self {
        Self {
            name: host.name.clone(),
            addr: SocketAddr::new(host.ip, host.ssh_port),
            user: host.ssh_user.clone(),
            ca_role: host.ca_role.clone(),
            role_from: RoleSource::Inventory(host.name.clone()),
            mount: mount.to_owned(),
            clock_offset_s: host.agent.as_ref().and_then(|agent| agent.clock_offset_s),
        }
    }
}

/// The target and the routes to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoutePlan {
    /// Outermost first; empty without jump hosts.
    pub(crate) jumps: Vec<Target>,
    pub(crate) target: Target,
    /// Whether the target is also tried without the jump hosts.
    pub(crate) direct: bool,
}

impl RoutePlan {
    pub(crate) fn new(jumps: Vec<Target>, target: Target, direct_first: bool) -> Self {
        let direct = direct_first || jumps.is_empty();
        Self {
            jumps,
            target,
            direct,
        }
    }
}
