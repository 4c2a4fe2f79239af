//! How long something is to live, as the command line says it.

use std::time::Duration;

use jiff::SignedDuration;

/// Understands a time such as `90m`, `1h` or `2d`.
///
/// # Errors
/// It is none, or not within these limits.
pub(super) fn within(text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let limits = format!("{} to {}", humane(least), humane(most));
    let parsed: SignedDuration = days(text)
        .or_else(|| text.parse().ok())
        .ok_or_else(|| format!("a time such as 90m, 1h or 2d, {limits}"))?;
    let duration = Duration::try_from(parsed).unwrap_or_default();
    if (least..=most).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("it must be {limits}"))
    }
}

/// jiff has no days in what is a fixed time; here a day is 24 hours.
fn days(text: &str) -> Option<SignedDuration> {
    let days: i64 = text.strip_suffix('d')?.parse().ok()?;
    Some(SignedDuration::from_secs(days.checked_mul(86_400)?))
}

const DAY: u64 = 86_400;

pub(super) fn humane(duration: Duration) -> String {
    match duration.as_secs() {
        // Up to some days, hours are what people say.
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
    fn limits_are_said_as_they_are_given() {
        let ttl = |text| {
            within(
                text,
                Duration::from_hours(1),
                Duration::from_hours(366 * 24),
            )
        };
        assert_eq!(ttl("366d"), Ok(Duration::from_hours(366 * 24)));
        assert_eq!(ttl("400d"), Err("it must be 1h to 366d".to_owned()));
        assert_eq!(humane(Duration::from_hours(72)), "72h");
    }
}
