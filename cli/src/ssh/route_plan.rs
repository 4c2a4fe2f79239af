//! A target and the routes to it, as plain data.

use std::net::SocketAddr;

use crate::inventory::Host;
use crate::rbac::scope::Scope;
use crate::ssh_ca::user_certificate::RoleSource;

/// A role of Vault that signs certificates for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SigningRole {
    pub(crate) name: String,
    pub(crate) from: RoleSource,
    /// Scope of the certificates; `None` for all hosts.
    pub(crate) scope: Option<Scope>,
}

impl SigningRole {
    /// Returns the role that signs within a scope.
    pub(crate) fn within(scope: &Scope) -> Self {
        Self {
            name: scope.vault_name(),
            from: RoleSource::Grant(scope.to_string()),
            scope: Some(scope.clone()),
        }
    }

    /// Returns the principal that a certificate for the account must have.
    pub(crate) fn principal(&self, user: &str) -> String {
        let scope = self.scope.as_ref();
        scope.map_or_else(|| user.to_owned(), |scope| scope.principal(user))
    }
}

/// A host to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Name under which its host key is stored: the inventory's name, or the address.
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) user: String,
    /// Data centre in the inventory; empty for an address.
    pub(crate) dc: String,
    /// Roles that may sign, in the order in which vctl requests them. At least one.
    pub(crate) roles: Vec<SigningRole>,
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
            dc: host.dc.clone(),
            roles: vec![SigningRole {
                name: host.ca_role.clone(),
                from: RoleSource::Inventory(host.name.clone()),
                scope: None,
            }],
            mount: mount.to_owned(),
            clock_offset_s: host.agent.as_ref().and_then(|agent| agent.clock_offset_s),
        }
    }

    /// Returns the argument of `vctl ssh` that leads to this host. The name of an address in `known_hosts` is not one.
    pub(super) fn destination(&self) -> String {
        let is_address = self.dc.is_empty() && self.name == address_name(self.addr);
        match self.addr.port() {
            _ if !is_address => self.name.clone(),
            22 => format!("{}@{}", self.user, self.addr.ip()),
            _ => format!("{}@{}", self.user, self.addr),
        }
    }
}

/// Returns the name that OpenSSH writes into `known_hosts` for an address.
pub(super) fn address_name(addr: SocketAddr) -> String {
    match addr.port() {
        22 => addr.ip().to_string(),
        port => format!("[{}]:{port}", addr.ip()),
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

    /// Returns whether both plans lead to the same hosts in the same way, with the same certificates. Only the clocks of
    /// the hosts may differ: they are not cached.
    pub(crate) fn has_route_of(&self, other: &Self) -> bool {
        let without_clocks = |plan: &Self| {
            let mut plan = plan.clone();
            for hop in plan.jumps.iter_mut().chain([&mut plan.target]) {
                hop.clock_offset_s = None;
            }
            plan
        };
        without_clocks(self) == without_clocks(other)
    }

    /// Returns the jump hosts of the route that is tried first.
    pub(crate) fn first_jumps(&self) -> &[Target] {
        if self.direct { &[] } else { &self.jumps }
    }
}
