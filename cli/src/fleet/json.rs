//! The fleet as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::fleet::model::FleetHost;
use crate::fleet::table::state;
use crate::ui::records::Records;
use crate::ui::sanitize;

/// Hosts and their state, for every output format.
pub(crate) struct Fleet;

#[derive(Serialize)]
struct HostJson<'a> {
    hostname: &'a str,
    dc: &'a str,
    inventory_state: &'a str,
    /// Whether there is no finding; `state` has the findings as words.
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
    logins_contradicted: Option<u64>,
    logins_unknown_ca: Option<u64>,
    clock_offset_s: Option<i64>,
    spool_backlog_bytes: Option<u64>,
    oldest_unshipped_age_s: Option<u64>,
    secret_id_expires_in_s: Option<u64>,
    problem: Option<&'a str>,
    machines: &'a [String],
}

impl Records for Fleet {
    const NAME: &'static str = "hosts";
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &[
        "hostname",
        "dc",
        "inventory_state",
        "healthy",
        "state",
        "agent_version",
        "heartbeat_age_s",
        "shipped_age_s",
        "collector_up",
        "collector_mode",
        "events_lost",
        "events_dropped",
        "logins_unstamped",
        "spool_backlog_bytes",
        "oldest_unshipped_age_s",
        "secret_id_expires_in_s",
        "problem",
        "machines",
        "logins_contradicted",
        "logins_unknown_ca",
        "clock_offset_s",
    ];
    type Record = FleetHost;

    fn json(&self, host: &FleetHost) -> impl Serialize {
        shown(host)
    }

    fn name(&self, host: &FleetHost) -> String {
        sanitize::text(&host.name)
    }
}

fn shown(host: &FleetHost) -> HostJson<'_> {
    let seconds = |age: Option<Duration>| age.map(|age| age.as_secs());
    HostJson {
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
        logins_contradicted: host.contradicted,
        logins_unknown_ca: host.unknown_ca,
        clock_offset_s: host.clock_offset_s,
        spool_backlog_bytes: host.backlog_bytes,
        oldest_unshipped_age_s: seconds(host.oldest_unshipped_age),
        secret_id_expires_in_s: seconds(host.secret_id_left),
        problem: host.problem.as_deref(),
        machines: &host.machines,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::rendered;
    use crate::fleet::model::tests::well;
    use crate::ui::format::OutputFormat;
    use crate::ui::json::schema;
    use crate::ui::records;

    #[test]
    fn every_host_fits_the_schema() {
        let hosts = [well("web-1"), FleetHost::default()];
        let text = rendered(|out| records::write(out, OutputFormat::Json, &Fleet, &hosts));
        let document = serde_json::from_str(&text).unwrap();
        schema::assert_fits(schema::OF_FLEET, None, &document);
    }
}
