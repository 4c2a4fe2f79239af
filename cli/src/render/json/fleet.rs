//! The fleet as JSON.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::escape;
use crate::render::fleet::state;
use crate::view::fleet::Host;

/// Changes when a field changes its meaning or goes away; new fields may come at any time.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Fleet<'a> {
    version: u32,
    hosts: Vec<HostJson<'a>>,
}

#[derive(Serialize)]
struct HostJson<'a> {
    hostname: &'a str,
    dc: &'a str,
    inventory_state: &'a str,
    /// Whether there is something to look at, and the words for it.
    healthy: bool,
    state: String,
    agent_version: Option<&'a str>,
    heartbeat_age_s: Option<u64>,
    shipped_age_s: Option<u64>,
    collector_up: Option<bool>,
    collector_mode: Option<&'a str>,
    events_lost: Option<u64>,
    events_dropped: Option<u64>,
    logins_unstamped: Option<u64>,
    spool_backlog_bytes: Option<u64>,
    oldest_unshipped_age_s: Option<u64>,
    secret_id_expires_in_s: Option<u64>,
    problem: Option<&'a str>,
    machines: &'a [String],
}

pub(crate) fn write(out: &mut dyn Write, hosts: &[Host]) -> io::Result<()> {
    let seconds = |age: Option<Duration>| age.map(|age| age.as_secs());
    let hosts = hosts
        .iter()
        .map(|host| HostJson {
            hostname: &host.name,
            dc: &host.dc,
            inventory_state: &host.state,
            healthy: host.findings().is_empty(),
            state: state(host),
            agent_version: host.agent_version.as_deref(),
            heartbeat_age_s: seconds(host.heartbeat_age),
            shipped_age_s: seconds(host.shipped_age),
            collector_up: host.collector_up,
            collector_mode: host.mode.as_deref(),
            events_lost: host.lost,
            events_dropped: host.dropped,
            logins_unstamped: host.unstamped,
            spool_backlog_bytes: host.backlog_bytes,
            oldest_unshipped_age_s: seconds(host.oldest_unshipped_age),
            secret_id_expires_in_s: seconds(host.secret_id_left),
            problem: host.problem.as_deref(),
            machines: &host.machines,
        })
        .collect();
    let version = VERSION;
    Fleet { version, hosts }.serialize(&mut escape::pretty(&mut *out))?;
    writeln!(out)
}
