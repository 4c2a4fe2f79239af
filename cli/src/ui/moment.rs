//! Times on the command line: `--since` and `--until`.

use std::str::FromStr;
use std::time::SystemTime;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use vctl_common::time::wall_now;

/// The accepted forms, for `--help`.
pub(crate) const FORMS: &str = "2h, 3d (ago), 2026-11-23 or 2026-11-23T22:01:00Z";

/// A point in time. An age such as `2h` is subtracted from the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) SystemTime);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, wall_now()).map(Self)
    }
}

/// Parses a time. A date means its start in UTC; a day of an age has 24 hours.
fn parse(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp.into());
    }
    let is_date = text.len() == 10 && text.bytes().filter(|&b| b == b'-').count() == 2;
    if is_date && let Ok(date) = text.parse::<Date>() {
        let midnight = date.to_zoned(TimeZone::UTC);
        return midnight
            .map(|midnight| midnight.timestamp().into())
            .map_err(|error| error.to_string());
    }
    let age = || {
        let span: Span = text.parse().ok()?;
        let age = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        let age = if age.is_negative() {
            age.checked_neg()?
        } else {
            age
        };
        let now = Timestamp::try_from(now).ok()?;
        now.checked_sub(age).ok()
    };
    match age() {
        Some(timestamp) if !text.starts_with(['-', '+']) => Ok(timestamp.into()),
        _ if text.contains('T') => {
            Err(format!("the time zone is missing: write `{text}Z` for UTC"))
        }
        _ => Err(format!("not a time: {FORMS}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        let now: Timestamp = "2026-11-23T22:00:00Z".parse().unwrap();
        let moment = parse(text, now.into())?;
        Ok(Timestamp::try_from(moment).unwrap().to_string())
    }

    #[test]
    fn an_age_counts_back_from_now() {
        assert_eq!(parsed("2h").unwrap(), "2026-11-23T20:00:00Z");
        assert_eq!(parsed("90m").unwrap(), "2026-11-23T20:30:00Z");
        assert_eq!(parsed("3d").unwrap(), "2026-11-20T22:00:00Z");
        assert_eq!(parsed("1w").unwrap(), "2026-11-16T22:00:00Z");
        assert_eq!(parsed("1d 12h").unwrap(), "2026-11-22T10:00:00Z");
        assert_eq!(parsed("2h ago").unwrap(), "2026-11-23T20:00:00Z");
    }

    #[test]
    fn a_date_begins_at_midnight_utc() {
        assert_eq!(parsed("2026-11-01").unwrap(), "2026-11-01T00:00:00Z");
    }

    #[test]
    fn a_time_needs_a_zone() {
        assert_eq!(
            parsed("2026-11-23T23:01:00+01:00").unwrap(),
            "2026-11-23T22:01:00Z"
        );
        assert_eq!(
            parsed("2026-11-23T22:01:02.5Z").unwrap(),
            "2026-11-23T22:01:02.5Z"
        );
        assert!(parsed("2026-11-23T22:01:00").unwrap_err().contains("zone"));
    }

    #[test]
    fn invalid_times_are_refused() {
        for text in [
            "",
            "yesterday",
            "7341",
            "-2h",
            "1y of snow",
            "2026-13-01",
            "999999999999h",
        ] {
            assert!(parsed(text).is_err(), "{text}");
        }
    }
}
