//! The numbers as text: OpenMetrics 1.0.
//!
//! By hand, because all of it is one struct at one moment; the libraries for it hold counters of
//! their own.

use std::fmt::Write;

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
    let mut out = Text(String::with_capacity(4096));
    let version = escaped(&status.agent_version);
    let mode = escaped(&status.mode);
    // A gauge and not an `info`: node_exporter reads the older format, which has no `info`.
    out.family(
        "vctl_agent_info",
        "gauge",
        "Version and mode of the collector.",
    );
    out.sample(
        &format!("vctl_agent_info{{version=\"{version}\",mode=\"{mode}\"}}"),
        1,
    );
    out.gauge(
        "vctl_up",
        "1 while recording works completely, 0 while the collector knows of a problem.",
        u64::from(status.problem.is_none()),
    );
    out.gauge(
        "vctl_sessions_open",
        "Sessions being recorded.",
        status.sessions_open,
    );
    out.counter(
        "vctl_events_captured",
        "Records read from the kernel's ring.",
        status.events_captured,
    );
    out.counter(
        "vctl_events_stored",
        "Records written to the spool.",
        status.events_stored,
    );
    losses(&mut out, status);
    out.counter(
        "vctl_events_dropped",
        "Events that the spool dropped at its cap.",
        status.events_dropped(),
    );
    out.counter(
        "vctl_execs_cut",
        "Execs stored without a part of argv: their session exceeded its byte budget.",
        status.execs_cut,
    );
    out.gauge(
        "vctl_sessions_over_budget",
        "Open sessions whose argv is cut.",
        status.sessions_over_budget,
    );
    out.counter(
        "vctl_pins_restored",
        "Pins of the probe that were removed or replaced, and restored.",
        status.pins_restored,
    );
    out.gauge(
        "vctl_failed_execs_unseen",
        "1 if the kernel has no hook for failed execs through its table of 32-bit calls.",
        u64::from(status.failed_execs_unseen),
    );
    logins(&mut out, &status.logins);
    out.gauge(
        "vctl_ring_size_bytes",
        "Size of the kernel's ring.",
        status.ring_bytes,
    );
    out.gauge(
        "vctl_ring_used_bytes",
        "Bytes in the kernel's ring that are not in the spool yet.",
        status.ring_used_bytes,
    );
    out.gauge(
        "vctl_spool_bytes",
        "Size of the spool's files.",
        status.spool_bytes,
    );
    out.gauge(
        "vctl_spool_cap_bytes",
        "Largest size of the spool.",
        status.spool_cap_bytes,
    );
    shipping(&mut out, status);
    out.time(
        "vctl_status_timestamp_seconds",
        "Time of these numbers.",
        Some(status.written_at),
    );
    out.0.push_str("# EOF\n");
    out.0
}

fn logins(out: &mut Text, logins: &Logins) {
    out.labelled(
        "vctl_logins",
        "Logins by the time of their stamp; only in_time means before the shell started.",
        "stamp",
        &[
            ("in_time", logins.in_time),
            ("late", logins.late),
            ("break_glass", logins.break_glass),
            ("missed", logins.missed),
            ("without_stamp", logins.without_stamp),
        ],
    );
    out.counter(
        "vctl_logins_unreadable_certificate",
        "Logins with an unreadable certificate.",
        logins.unreadable_certificate,
    );
    out.counter(
        "vctl_second_stamps",
        "Second stamps of a login: PAM has two lines for the hook.",
        logins.second_stamps,
    );
}

fn losses(out: &mut Text, status: &CollectorStatus) {
    let of = |cause: &GapCause| status.losses.get(cause).copied().unwrap_or_default();
    let by_cause = |number: fn(Loss) -> u64| CAUSES.map(|cause| (name(cause), number(of(&cause))));
    out.labelled(
        "vctl_events_lost",
        "Lost events by cause, if their number is known.",
        "cause",
        &by_cause(|loss| loss.events),
    );
    out.labelled(
        "vctl_unknown_gaps",
        "Gaps with an unknown number of events, by cause.",
        "cause",
        &by_cause(|loss| loss.unknown),
    );
}

fn shipping(out: &mut Text, status: &CollectorStatus) {
    // A host that does not ship its records has no lag.
    let Some(shipping) = &status.shipping else {
        return;
    };
    out.counter(
        "vctl_events_shipped",
        "Events stored by the central store.",
        shipping.events_shipped,
    );
    out.gauge(
        "vctl_shipping_up",
        "1 while shipping to the central store works.",
        u64::from(shipping.problem.is_none()),
    );
    out.gauge(
        "vctl_spool_backlog_bytes",
        "Bytes of the spool that the central store does not have yet.",
        shipping.backlog_bytes,
    );
    out.time(
        "vctl_oldest_unshipped_timestamp_seconds",
        "Time of the oldest event that the central store does not have yet; absent if it has all.",
        shipping.oldest_unshipped_at,
    );
    out.time(
        "vctl_last_shipped_timestamp_seconds",
        "Time of the last successful shipment.",
        shipping.last_shipped_at,
    );
    out.time(
        "vctl_secret_id_expires_timestamp_seconds",
        "Expiry of this host's credential for Vault.",
        shipping.secret_id_expires_at,
    );
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
        GapCause::Shipped => "shipped",
    }
}

struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# TYPE {name} {kind}\n# HELP {name} {help}\n");
    }

    fn sample(&mut self, series: &str, value: u64) {
        let _ = writeln!(self.0, "{series} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample(name, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(&format!("{name}_total"), value);
    }

    fn labelled(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.family(name, "counter", help);
        for (value, count) in values {
            self.sample(&format!("{name}_total{{{label}=\"{value}\"}}"), *count);
        }
    }

    /// Writes a time and not an age: an age is outdated when the file is read.
    fn time(&mut self, name: &str, help: &str, at: Option<Millis>) {
        let Some(Millis(ms)) = at else { return };
        self.family(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {}.{:03}", ms / 1000, ms % 1000);
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::status::Shipping;

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
            "vctl_oldest_unshipped_timestamp_seconds 1699999999.000",
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
