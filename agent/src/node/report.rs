//! A report in the form of `vctl.status_v1`: the columns of `server_status` except the host's name,
//! which the server knows.

use serde_json::{Value, json};
use vctl_common::status::Millis;

use super::collector::CollectorHealth;
use super::facts::Facts;

/// Longest text of a host: longer ones are not useful, and a row stays small.
const TEXT_MAX: usize = 500;

/// One heartbeat. Times are separate fields, because JSON has no type for them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    pub(super) columns: Value,
    /// Seconds since the Unix epoch.
    pub(super) oldest_unshipped_at: Option<f64>,
    pub(super) secret_id_expires_at: Option<f64>,
}

/// Builds the report.
pub(super) fn report(facts: &Facts, collector: &CollectorHealth) -> Report {
    let [load1, load5, load15] = facts.load.map_or([None; 3], |load| load.map(Some));
    let status = collector.status.as_ref();
    let shipping = status.and_then(|status| status.shipping.as_ref());
    let columns = json!({
        "agent_version": env!("CARGO_PKG_VERSION"),
        "machine_id": facts.machine_id,
        "boot_id": facts.boot_id,
        "os": facts.os.as_deref().map(text),
        "kernel": facts.kernel.as_deref().map(text),
        "arch": facts.arch.as_deref().map(text),
        "uptime_s": facts.uptime_s.map(bigint),
        "load1": load1,
        "load5": load5,
        "load15": load15,
        "memory_total_bytes": facts.memory.map(|usage| bigint(usage.total_bytes)),
        "memory_used_percent": facts.memory.map(|usage| usage.used_percent),
        "disk_total_bytes": facts.disk.map(|usage| bigint(usage.total_bytes)),
        "disk_used_percent": facts.disk.map(|usage| usage.used_percent),
        "addresses": facts.addresses,
        "collector_up": collector.up,
        "collector_mode": status.map(|status| text(&status.mode)),
        "spool_backlog_bytes": shipping.map(|shipping| bigint(shipping.backlog_bytes)),
        "events_lost": status.map(|status| bigint(status.events_lost())),
        "events_dropped": status.map(|status| bigint(status.events_dropped())),
        "logins_unstamped": status.map(|status| bigint(status.logins.unstamped())),
        "problem": collector.problem.as_deref().map(text),
    });
    let time = |at: Option<Millis>| at.map(seconds);
    Report {
        columns,
        oldest_unshipped_at: shipping.and_then(|shipping| time(shipping.oldest_unshipped_at)),
        secret_id_expires_at: shipping.and_then(|shipping| time(shipping.secret_id_expires_at)),
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "whole milliseconds for the next 280,000 years"
)]
pub(super) fn seconds(Millis(ms): Millis) -> f64 {
    ms as f64 / 1000.0
}

/// The columns are signed.
fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Postgres' text has no NUL.
fn text(text: &str) -> String {
    let kept = text.chars().filter(|&c| c != '\0');
    kept.take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::session::GapCause;
    use vctl_common::status::{CollectorStatus, Shipping};

    #[test]
    fn what_is_not_known_is_null_and_not_zero() {
        let report = report(&Facts::default(), &CollectorHealth::default());
        for column in [
            "load1",
            "uptime_s",
            "collector_up",
            "events_lost",
            "spool_backlog_bytes",
        ] {
            assert_eq!(report.columns[column], Value::Null, "{column}");
        }
        assert_eq!(report.columns["addresses"], json!([]));
        assert_eq!(report.oldest_unshipped_at, None);
    }

    #[test]
    fn numbers_and_texts_of_a_host_fit_their_columns() {
        let mut status = CollectorStatus {
            shipping: Some(Shipping {
                backlog_bytes: u64::MAX,
                oldest_unshipped_at: Some(Millis(1_500)),
                ..Shipping::default()
            }),
            ..CollectorStatus::default()
        };
        status.lose(GapCause::RingFull, Some(u64::MAX));
        let facts = Facts {
            os: Some("x\0y".repeat(1000)),
            ..Facts::default()
        };
        let health = CollectorHealth {
            status: Some(status),
            ..CollectorHealth::default()
        };
        let report = report(&facts, &health);
        assert_eq!(report.columns["events_lost"], i64::MAX);
        assert_eq!(report.columns["spool_backlog_bytes"], i64::MAX);
        assert_eq!(report.oldest_unshipped_at, Some(1.5));
        let os = report.columns["os"].as_str().unwrap();
        assert!(os.len() == TEXT_MAX && !os.contains('\0'));
    }
}
