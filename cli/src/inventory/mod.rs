//! Hosts as the inventory has them, and the way to each.

use std::net::IpAddr;
use std::time::SystemTime;

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the commands that show them come later")]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) dc: String,
    pub(crate) ip: IpAddr,
    pub(crate) ssh_port: u16,
    pub(crate) ssh_user: String,
    pub(crate) jump_via: Option<String>,
    pub(crate) extra_ips: Vec<IpAddr>,
    pub(crate) observed_ips: Vec<IpAddr>,
    pub(crate) ca_role: String,
    pub(crate) state: HostState,
    pub(crate) last_seen_up: Option<SystemTime>,
    pub(crate) agent: Option<AgentSeen>,
    pub(crate) tags: Vec<String>,
}

/// What its operators say of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostState {
    Active,
    Maintenance,
    Broken,
    Retired,
}

/// The last report of a host's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentSeen {
    pub(crate) version: String,
    pub(crate) reported_at: SystemTime,
}

/// The way to a host: outermost jump first, the target last. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) hops: Vec<Host>,
}
