//! The numbers as text: OpenMetrics 1.0, by way of `prometheus-client`.
//!
//! A [`Collector`] gives the crate one status at one moment; counters of the crate would be a second copy of it.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use vctl_common::session::GapCause;
use vctl_common::status::{CollectorStatus, Logins, Loss, Millis};

/// All causes: a cause that has not occurred yet is 0, so that its first increase is visible.
const CAUSES: [GapCause; 8] = [
    GapCause::RingFull,
    GapCause::ProbeSkipped,
    GapCause::MarksFull,
    GapCause::StampedLate,
    GapCause::LoginWithoutStamp,
    GapCause::ProbeAway,
    GapCause::Undecodable,
    GapCause::SpoolDamaged,
];

/// Returns one exposition, with its `# EOF`.
pub fn render(status: &CollectorStatus) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Numbers(status.clone())));
    let mut out = String::with_capacity(4096);
    // Only a number that its type cannot hold fails, and all of ours are `u64` and `f64`.
    let _ = text::encode(&mut out, &registry);
    out
}

/// The status, as the crate takes it.
#[derive(Debug)]
struct Numbers(CollectorStatus);

impl Collector for Numbers {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        all(&mut Families(encoder), &self.0)
    }
}

fn all(out: &mut Families<'_>, status: &CollectorStatus) -> fmt::Result {
    // A gauge and not an `info`: node_exporter reads the older format, which has none.
    out.labelled(
        MetricType::Gauge,
        "vctl_agent_info",
        "Version and mode of the collector.",
        &[(
            [("version", &*status.agent_version), ("mode", &*status.mode)],
            1,
        )],
    )?;
    out.gauge(
        "vctl_up",
        "1 while recording works completely, 0 while the collector knows of a problem.",
        u64::from(status.problem.is_none()),
    )?;
    out.gauge(
        "vctl_sessions_open",
        "Sessions being recorded.",
        status.sessions_open,
    )?;
    out.counter(
        "vctl_events_captured",
        "Records read from the kernel's ring.",
        status.events_captured,
    )?;
    out.counter(
        "vctl_events_stored",
        "Records written to the spool.",
        status.events_stored,
    )?;
    losses(out, status)?;
    out.counter(
        "vctl_events_dropped",
        "Events that the spool dropped at its cap.",
        status.events_dropped(),
    )?;
    out.counter(
        "vctl_execs_cut",
        "Execs stored without a part of argv: their session exceeded its byte budget.",
        status.execs_cut,
    )?;
    out.gauge(
        "vctl_sessions_over_budget",
        "Open sessions whose argv is cut.",
        status.sessions_over_budget,
    )?;
    out.counter(
        "vctl_pins_restored",
        "Pins of the probe that were removed or replaced, and restored.",
        status.pins_restored,
    )?;
    out.gauge(
        "vctl_failed_execs_unseen",
        "1 if failed execs, all or those of the table of 32-bit calls, cannot be recorded.",
        u64::from(status.failed_execs_unseen),
    )?;
    logins(out, &status.logins)?;
    out.gauge(
        "vctl_ring_size_bytes",
        "Size of the kernel's ring.",
        status.ring_bytes,
    )?;
    out.gauge(
        "vctl_ring_used_bytes",
        "Bytes in the kernel's ring that are not in the spool yet.",
        status.ring_used_bytes,
    )?;
    out.gauge(
        "vctl_spool_bytes",
        "Size of the spool's files.",
        status.spool_bytes,
    )?;
    out.gauge(
        "vctl_spool_cap_bytes",
        "Largest size of the spool.",
        status.spool_cap_bytes,
    )?;
    shipping(out, status)?;
    local_log(out, status)?;
    out.time(
        "vctl_status_timestamp_seconds",
        "Time of these numbers.",
        Some(status.written_at),
    )
}

fn logins(out: &mut Families<'_>, logins: &Logins) -> fmt::Result {
    out.labelled(
        MetricType::Counter,
        "vctl_logins",
        "Logins by the time of their stamp; only in_time means before the shell started.",
        &[
            ([("stamp", "in_time")], logins.in_time),
            ([("stamp", "late")], logins.late),
            ([("stamp", "break_glass")], logins.break_glass),
            ([("stamp", "missed")], logins.missed),
            ([("stamp", "without_stamp")], logins.without_stamp),
        ],
    )?;
    out.counter(
        "vctl_logins_unreadable_certificate",
        "Logins with an unreadable certificate.",
        logins.unreadable_certificate,
    )?;
    out.counter(
        "vctl_second_stamps",
        "Second stamps of a login: PAM has two lines for the hook.",
        logins.second_stamps,
    )
}

fn losses(out: &mut Families<'_>, status: &CollectorStatus) -> fmt::Result {
    let of = |cause: &GapCause| status.losses.get(cause).copied().unwrap_or_default();
    let by_cause = |number: fn(Loss) -> u64| {
        CAUSES.map(|cause| ([("cause", name(cause))], number(of(&cause))))
    };
    out.labelled(
        MetricType::Counter,
        "vctl_events_lost",
        "Lost events by cause, if their number is known.",
        &by_cause(|loss| loss.events),
    )?;
    out.labelled(
        MetricType::Counter,
        "vctl_unknown_gaps",
        "Gaps with an unknown number of events, by cause.",
        &by_cause(|loss| loss.unknown),
    )
}

fn local_log(out: &mut Families<'_>, status: &CollectorStatus) -> fmt::Result {
    let Some(log) = status.local_log else {
        return Ok(());
    };
    out.counter(
        "vctl_local_log_lines",
        "Lines that the log daemon of the host took.",
        log.written,
    )?;
    out.counter(
        "vctl_local_log_dropped",
        "Lines that the log daemon of the host did not take. The record has them.",
        log.dropped,
    )
}

fn shipping(out: &mut Families<'_>, status: &CollectorStatus) -> fmt::Result {
    // A host that does not ship its records has no lag.
    let Some(shipping) = &status.shipping else {
        return Ok(());
    };
    out.counter(
        "vctl_events_shipped",
        "Events stored by the central store.",
        shipping.events_shipped,
    )?;
    out.gauge(
        "vctl_shipping_up",
        "1 while shipping to the central store works.",
        u64::from(shipping.problem.is_none()),
    )?;
    out.gauge(
        "vctl_spool_backlog_bytes",
        "Bytes of the spool that the central store does not have yet.",
        shipping.backlog_bytes,
    )?;
    out.time(
        "vctl_oldest_unshipped_timestamp_seconds",
        "Time of the oldest event that the central store does not have yet; absent if it has all.",
        shipping.oldest_unshipped_at,
    )?;
    out.time(
        "vctl_last_shipped_timestamp_seconds",
        "Time of the last successful shipment.",
        shipping.last_shipped_at,
    )?;
    out.time(
        "vctl_secret_id_expires_timestamp_seconds",
        "Expiry of this host's credential for Vault.",
        shipping.secret_id_expires_at,
    )
}

/// Returns the cause's name in the records.
fn name(cause: GapCause) -> &'static str {
    match cause {
        GapCause::RingFull => "ring_full",
        GapCause::ProbeSkipped => "probe_skipped",
        GapCause::MarksFull => "marks_full",
        GapCause::StampedLate => "stamped_late",
        GapCause::LoginWithoutStamp => "login_without_stamp",
        GapCause::ProbeAway => "probe_away",
        GapCause::Undecodable => "undecodable",
        GapCause::SpoolCap => "spool_cap",
        GapCause::SpoolDamaged => "spool_damaged",
        GapCause::StreamLost => "stream_lost",
        GapCause::CentreLost => "centre_lost",
        GapCause::Shipped => "shipped",
    }
}

struct Families<'a>(DescriptorEncoder<'a>);

impl Families<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.one(name, help, &ConstGauge::new(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.one(name, help, &ConstCounter::new(value))
    }

    /// Times, not ages: an age is wrong by the time the file is read.
    #[allow(
        clippy::cast_precision_loss,
        reason = "milliseconds are exact for 280,000 years"
    )]
    fn time(&mut self, name: &str, help: &str, at: Option<Millis>) -> fmt::Result {
        let Some(Millis(ms)) = at else {
            return Ok(());
        };
        self.one(name, help, &ConstGauge::new(ms as f64 / 1000.0))
    }

    fn one(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let kind = metric.metric_type();
        metric.encode(self.0.encode_descriptor(name, help, None, kind)?)
    }

    fn labelled<const LABELS: usize>(
        &mut self,
        kind: MetricType,
        name: &str,
        help: &str,
        samples: &[([(&str, &str); LABELS], u64)],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            let encoder = family.encode_family(labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(*value).encode(encoder)?,
                _ => ConstGauge::new(*value).encode(encoder)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::status::{LocalLogStatus, Shipping};

    fn status() -> CollectorStatus {
        let mut status = CollectorStatus {
            agent_version: "0.1.0".to_owned(),
            mode: "best-effort".to_owned(),
            written_at: Millis(1_700_000_000_042),
            sessions_open: 2,
            events_captured: 50,
            events_stored: 49,
            logins: Logins {
                in_time: 5,
                missed: 1,
                ..Logins::default()
            },
            ..CollectorStatus::default()
        };
        status.lose(GapCause::RingFull, Some(3));
        status.lose(GapCause::ProbeAway, None);
        status.lose(GapCause::SpoolCap, Some(8));
        status
    }

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|found| found == line)
    }

    #[test]
    fn lost_dropped_and_unknown_are_three_numbers() {
        let text = render(&status());
        for line in [
            "vctl_events_lost_total{cause=\"ring_full\"} 3",
            "vctl_events_lost_total{cause=\"undecodable\"} 0",
            "vctl_unknown_gaps_total{cause=\"probe_away\"} 1",
            "vctl_events_dropped_total 8",
            "vctl_logins_total{stamp=\"missed\"} 1",
            "vctl_up 1",
            "vctl_status_timestamp_seconds 1700000000.042",
        ] {
            assert!(has(&text, line), "{line} in\n{text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn lines_of_the_local_log_are_counted_if_it_is_used() {
        let mut status = status();
        assert!(!render(&status).contains("local_log"));
        status.local_log = Some(LocalLogStatus {
            written: 7,
            dropped: 2,
        });
        let text = render(&status);
        assert!(has(&text, "vctl_local_log_lines_total 7"));
        assert!(has(&text, "vctl_local_log_dropped_total 2"));
    }

    #[test]
    fn names_of_causes_are_those_of_the_records() {
        for cause in CAUSES.into_iter().chain([GapCause::SpoolCap]) {
            let record = serde_json::to_string(&cause).unwrap();
            assert_eq!(format!("\"{}\"", name(cause)), record);
        }
    }

    #[test]
    fn a_host_on_its_own_has_no_lag_and_one_that_ships_has() {
        let alone = render(&status());
        assert!(!alone.contains("backlog"), "{alone}");
        let shipping = Shipping {
            events_shipped: 40,
            backlog_bytes: 512,
            oldest_unshipped_at: Some(Millis(1_699_999_999_000)),
            problem: Some("sealed".to_owned()),
            ..Shipping::default()
        };
        let text = render(&CollectorStatus {
            shipping: Some(shipping),
            ..status()
        });
        for line in [
            "vctl_events_shipped_total 40",
            "vctl_spool_backlog_bytes 512",
            "vctl_oldest_unshipped_timestamp_seconds 1699999999.0",
            "vctl_shipping_up 0",
        ] {
            assert!(has(&text, line), "{line} in\n{text}");
        }
        assert!(!text.contains("vctl_last_shipped_timestamp_seconds"));
    }

    #[test]
    fn a_label_cannot_end_its_line() {
        let text = render(&CollectorStatus {
            mode: "a\"b\\\nc".to_owned(),
            ..status()
        });
        assert!(text.contains("mode=\"a\\\"b\\\\\\nc\"} 1"), "{text}");
    }
}
