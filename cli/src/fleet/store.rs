//! Queries for the reports of hosts.

use std::time::Duration;

use vctl_common::pg::tokio_postgres::{Client, Error, Row};

use crate::centre::instant::whole;
use crate::fleet::model::FleetHost;

/// Returns the hosts of the inventory that are not retired, by name.
pub(crate) async fn hosts(client: &Client) -> Result<Vec<FleetHost>, Error> {
    let rows = client.query_typed(include_str!("fleet.sql"), &[]).await?;
    rows.iter().map(host).collect()
}

fn host(row: &Row) -> Result<FleetHost, Error> {
    let count = |name| row.try_get::<_, Option<i64>>(name).map(|n| n.map(number));
    let age = |name| {
        let seconds = row.try_get::<_, Option<f64>>(name)?;
        // A host's clock may be ahead: a time in the future counts as now.
        Ok::<_, Error>(
            seconds.map(|s| Duration::try_from_secs_f64(s.max(0.0)).unwrap_or(Duration::MAX)),
        )
    };
    Ok(FleetHost {
        name: row.try_get("hostname")?,
        dc: row.try_get("dc")?,
        state: row.try_get("state")?,
        agent_version: row.try_get("agent_version")?,
        enrolled_age: age("enrolled_age")?,
        heartbeat_age: age("heartbeat_age")?,
        shipped_age: age("shipped_age")?,
        collector_up: row.try_get("collector_up")?,
        mode: row.try_get("collector_mode")?,
        lost: count("events_lost")?,
        dropped: count("events_dropped")?,
        unstamped: count("logins_unstamped")?,
        clock_offset_s: row.try_get::<_, Option<f64>>("clock_offset_s")?.map(whole),
        contradicted: count("logins_contradicted")?,
        unknown_ca: count("logins_unknown_ca")?,
        backlog_bytes: count("spool_backlog_bytes")?,
        oldest_unshipped_age: age("oldest_unshipped_age")?,
        secret_id_left: age("secret_id_left")?,
        problem: row.try_get("problem")?,
        machines: row.try_get("machines")?,
    })
}

/// Converts a counter; only an invalid report is negative.
fn number(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
