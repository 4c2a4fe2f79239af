//! Hosts of the inventory as JSON, CSV and names, as documented in docs/inventory-json.md.

use std::net::IpAddr;
use std::time::SystemTime;

use serde::Serialize;

use crate::inventory::Host;
use crate::ui::records::Records;
use crate::ui::time;

/// Hosts. `now` is the database's clock; `None` for cached hosts.
pub(crate) struct Hosts {
    pub(crate) now: Option<SystemTime>,
}

#[derive(Serialize)]
struct HostJson<'a> {
    name: &'a str,
    dc: &'a str,
    ip: IpAddr,
    ssh_port: u16,
    ssh_user: &'a str,
    jump_via: Option<&'a str>,
    extra_ips: &'a [IpAddr],
    observed_ips: &'a [IpAddr],
    ca_role: &'a str,
    state: &'static str,
    liveness: &'static str,
    last_seen_up: Option<String>,
    agent_version: Option<&'a str>,
    agent_reported_at: Option<String>,
    tags: &'a [String],
}

impl Records for Hosts {
    const NAME: &'static str = "hosts";
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &[
        "name",
        "dc",
        "ip",
        "ssh_port",
        "ssh_user",
        "jump_via",
        "extra_ips",
        "observed_ips",
        "ca_role",
        "state",
        "liveness",
        "last_seen_up",
        "agent_version",
        "agent_reported_at",
        "tags",
    ];
    type Record = Host;

    fn json(&self, host: &Host) -> impl Serialize {
        self.shown(host)
    }

    fn name(&self, host: &Host) -> String {
        host.name.clone()
    }
}

impl Hosts {
    fn shown<'a>(&self, host: &'a Host) -> HostJson<'a> {
        HostJson {
            name: &host.name,
            dc: &host.dc,
            ip: host.ip,
            ssh_port: host.ssh_port,
            ssh_user: &host.ssh_user,
            jump_via: host.jump_via.as_deref(),
            extra_ips: &host.extra_ips,
            observed_ips: &host.observed_ips,
            ca_role: &host.ca_role,
            state: host.state.word(),
            liveness: host.liveness(self.now).word(),
            last_seen_up: host.last_seen_up.map(time::seconds),
            agent_version: host.agent.as_ref().map(|agent| &*agent.version),
            agent_reported_at: host
                .agent
                .as_ref()
                .map(|agent| time::seconds(agent.reported_at)),
            tags: &host.tags,
        }
    }
}
