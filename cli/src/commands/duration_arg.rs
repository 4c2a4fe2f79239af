//! Durations as arguments, such as a certificate's lifetime.

use std::time::Duration;

use jiff::SignedDuration;

/// Parses a duration such as `90m`, `1h` or `2d`.
///
/// # Errors
/// The text is not a duration, or is outside of the limits.
pub(super) fn within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let limits = format!("{} to {}", humane(least), humane(most));
    let parsed: SignedDuration = days(text)
        .or_else(|| text.parse().ok())
        .ok_or_else(|| format!("expected a time such as 90m, 1h or 2d, {limits}"))?;
    let duration = Duration::try_from(parsed).unwrap_or_default();
    if (least..=most).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("must be {limits}"))
    }
}

/// Parses a time to wait for the answers of hosts.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    within(text, Duration::from_secs(1), Duration::from_hours(24))
}

/// Parses days, of 24 hours each: jiff does not accept days in a fixed duration.
fn days(text: &str) -> Option<SignedDuration> {
    let days: i64 = text.strip_suffix('d')?.parse().ok()?;
    Some(SignedDuration::from_secs(days.checked_mul(86_400)?))
}

const DAY: u64 = 86_400;

pub(super) fn humane(duration: Duration) -> String {
    match duration.as_secs() {
        // Hours are usual up to some days.
        seconds if seconds % DAY == 0 && seconds >= 7 * DAY => format!("{}d", seconds / DAY),
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_printed_as_they_are_typed() {
        let ttl = |text| {
            within(
                text,
                Duration::from_hours(1),
                Duration::from_hours(366 * 24),
            )
        };
        assert_eq!(ttl("366d"), Ok(Duration::from_hours(366 * 24)));
        assert_eq!(ttl("400d"), Err("must be 1h to 366d".to_owned()));
        assert_eq!(humane(Duration::from_hours(72)), "72h");
    }
}
