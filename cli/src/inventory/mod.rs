//! The inventory of hosts: lookup by name, liveness, route, changes, cache and import.
//!
//! The rows come from [`store`], or from the [`cache`].

pub(crate) mod change;
mod liveness;
pub(crate) mod order;
mod resolve;
mod route;
pub(crate) mod cache;
pub(crate) mod json;
pub(crate) mod lookup;
pub(crate) mod picker;
pub(crate) mod rename;
pub(crate) mod store;
pub(crate) mod store_edit;
pub(crate) mod sync;
pub(crate) mod table;

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub(crate) use liveness::Liveness;
pub(crate) use resolve::address;
pub(crate) use resolve::resolve;
pub(crate) use route::{Route, RouteError};

/// One host, also in the format of the cache file. Observations such as the last report are not cached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Host {
    /// Lower case, as in `vctl.host_name`.
    pub(crate) name: String,
    /// Empty if not set.
    pub(crate) dc: String,
    pub(crate) ip: IpAddr,
    pub(crate) ssh_port: u16,
    pub(crate) ssh_user: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) jump_via: Option<String>,
    /// Set by operators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) extra_ips: Vec<IpAddr>,
    /// Reported by the agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) observed_ips: Vec<IpAddr>,
    pub(crate) ca_role: String,
    pub(crate) state: HostState,
    /// Time of the last test of `vctl sync` that reached the SSH port.
    #[serde(skip)]
    pub(crate) last_seen_up: Option<SystemTime>,
    /// Time of the last test of `vctl sync`.
    #[serde(skip)]
    pub(crate) last_probed_at: Option<SystemTime>,
    #[serde(skip)]
    pub(crate) agent: Option<AgentSeen>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
}

/// The state of a host, as set by operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HostState {
    Active,
    Maintenance,
    Broken,
    Retired,
}

impl HostState {
    /// Returns the word in the database, in JSON and on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Maintenance => "maintenance",
            Self::Broken => "broken",
            Self::Retired => "retired",
        }
    }

    pub(crate) fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Active, Self::Maintenance, Self::Broken, Self::Retired];
        all.into_iter().find(|state| state.word() == word)
    }
}

/// The last report of a host's agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentSeen {
    pub(crate) version: String,
    /// By the database's clock.
    pub(crate) reported_at: SystemTime,
    /// Seconds that the host's clock was ahead of the database's; negative if behind.
    pub(crate) clock_offset_s: Option<i64>,
}

impl Host {
    /// Returns all addresses without duplicates; the address to connect to is the first.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let mut known = HashSet::new();
        let all = [self.ip].into_iter();
        let all = all.chain(self.extra_ips.iter().chain(&self.observed_ips).copied());
        all.filter(|&ip| known.insert(ip)).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A host at 192.0.2.1 with the defaults of the table.
    pub(crate) fn host(name: &str) -> Host {
        Host {
            name: name.to_owned(),
            dc: "seoul".to_owned(),
            ip: "192.0.2.1".parse().unwrap(),
            ssh_port: 22,
            ssh_user: "root".to_owned(),
            jump_via: None,
            extra_ips: Vec::new(),
            observed_ips: Vec::new(),
            ca_role: "sre-core".to_owned(),
            state: HostState::Active,
            last_seen_up: None,
            last_probed_at: None,
            agent: None,
            tags: Vec::new(),
        }
    }

    #[test]
    fn duplicate_addresses_are_listed_once() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut host = host("web-1");
        host.extra_ips = vec![ip("10.0.0.1"), ip("192.0.2.1")];
        host.observed_ips = vec![ip("2001:db8::1"), ip("10.0.0.1")];
        let all = ["192.0.2.1", "10.0.0.1", "2001:db8::1"].map(ip);
        assert_eq!(host.addresses(), all);
    }

    #[test]
    fn each_state_has_its_own_word() {
        for word in ["active", "maintenance", "broken", "retired"] {
            assert_eq!(HostState::of_word(word).unwrap().word(), word);
        }
        assert_eq!(HostState::of_word("Active"), None);
    }
}
