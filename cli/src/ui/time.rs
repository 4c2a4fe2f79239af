//! Times and durations as text, always in UTC, to compare with other logs.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use vctl_common::charset;

/// Returns `2026-11-23T22:01:02.123Z`.
pub(crate) fn millis(time: SystemTime) -> String {
    format!("{:.3}", timestamp(time))
}

/// Returns `2026-11-23T22:01:02Z`.
pub(crate) fn seconds(time: SystemTime) -> String {
    format!("{:.0}", timestamp(time))
}

/// Returns the time with all nine digits of the fraction.
pub(crate) fn nanos(time: SystemTime) -> String {
    format!("{:.9}", timestamp(time))
}

/// Returns `2026-11-23`.
pub(crate) fn date(time: SystemTime) -> String {
    let mut text = seconds(time);
    text.truncate(text.find('T').unwrap_or(text.len()));
    text
}

/// Returns `22:01:02.123`.
pub(crate) fn clock(time: SystemTime) -> String {
    let text = millis(time);
    let clock = text.split_once('T').map_or(&*text, |(_, clock)| clock);
    clock.trim_end_matches('Z').to_owned()
}

/// Returns at most two units: `450µs`, `12ms`, `1.2s`, `3m12s`, `5h03m`, `2d04h`.
pub(crate) fn duration(duration: Duration) -> String {
    let (s, ms) = (duration.as_secs(), duration.subsec_millis());
    match s {
        0 if ms == 0 => format!("{}{}", duration.subsec_micros(), charset::shown("µs")),
        0 => format!("{ms}ms"),
        1..60 => format!("{s}.{}s", ms / 100),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// Returns `3h00m ahead` or `42s behind`, in whole seconds.
pub(crate) fn ahead(seconds: i64) -> String {
    let by = match seconds.unsigned_abs() {
        s @ 0..60 => format!("{s}s"),
        s => duration(Duration::from_secs(s)),
    };
    let direction = if seconds < 0 { "behind" } else { "ahead" };
    format!("{by} {direction}")
}

/// Returns a remaining time, rounded up to whole seconds: a new token of one hour has `1h00m` left.
pub(crate) fn left(left: Duration) -> String {
    let whole = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    duration(Duration::from_secs(whole))
}

/// Returns `42s ago` or `3m12s ago`, in whole seconds.
pub(crate) fn age(age: Duration) -> String {
    match age.as_secs() {
        s @ 0..60 => format!("{s}s ago"),
        s => format!("{} ago", duration(Duration::from_secs(s))),
    }
}

/// Converts a recorded time. A time outside of the calendar becomes the nearest one.
fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(if time < SystemTime::UNIX_EPOCH {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_time_has_the_requested_digits() {
        let time = UNIX_EPOCH + Duration::new(1_000_000_000, 7_000_001);
        assert_eq!(seconds(time), "2001-09-09T01:46:40Z");
        assert_eq!(millis(time), "2001-09-09T01:46:40.007Z");
        assert_eq!(nanos(time), "2001-09-09T01:46:40.007000001Z");
        assert_eq!(date(time), "2001-09-09");
        assert_eq!(clock(time), "01:46:40.007");
    }

    #[test]
    fn any_recorded_time_can_be_shown() {
        let far = UNIX_EPOCH + Duration::from_secs(1 << 62);
        assert_eq!(date(far), "9999-12-30");
    }

    #[test]
    fn durations_have_at_most_two_units() {
        let shown = |ns| duration(Duration::from_nanos(ns));
        assert_eq!(shown(0), "0µs");
        assert_eq!(shown(999_999), "999µs");
        assert_eq!(shown(12_900_000), "12ms");
        assert_eq!(shown(1_290_000_000), "1.2s");
        assert_eq!(shown(192_000_000_000), "3m12s");
        assert_eq!(shown(18_190_000_000_000), "5h03m");
        assert_eq!(shown(187_200_000_000_000), "2d04h");
    }

    #[test]
    fn nothing_is_younger_than_a_second() {
        let shown = |ms| age(Duration::from_millis(ms));
        assert_eq!(shown(0), "0s ago");
        assert_eq!(shown(42_900), "42s ago");
        assert_eq!(shown(192_000), "3m12s ago");
    }
}
