//! A time from the database, which may be out of our range.

use std::error::Error;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postgres_types::{FromSql, Type, accepts};

/// Microseconds from 1970 to the beginning of 2000, the epoch of Postgres.
const EPOCH_US: i64 = 946_684_800_000_000;
/// The beginning of 2263: the maximum of a boot clock plus an offset, both in nanoseconds.
const BEYOND_US: i64 = 9_246_182_400_000_000;

/// A `timestamptz`; `None` if infinite or not between 1970 and 2262. A schema older than `0012_limits` allows such
/// values, and the driver's conversion panics on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instant(pub(crate) Option<SystemTime>);

impl<'a> FromSql<'a> for Instant {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let us = i64::from_be_bytes(raw.try_into()?).saturating_add(EPOCH_US);
        let us = u64::try_from(us).ok().filter(|_| us < BEYOND_US);
        Ok(Self(us.map(|us| UNIX_EPOCH + Duration::from_micros(us))))
    }

    accepts!(TIMESTAMPTZ);
}

/// Rounds to whole seconds. A row older than the limits may hold any number.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a cast of a float ends at the limits of the integer"
)]
pub(crate) fn whole(seconds: f64) -> i64 {
    seconds.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(us: i64) -> Option<SystemTime> {
        let read = Instant::from_sql(&Type::TIMESTAMPTZ, &us.to_be_bytes());
        read.unwrap().0
    }

    #[test]
    fn time_out_of_range_is_none() {
        for us in [i64::MIN, i64::MAX, -EPOCH_US - 1, BEYOND_US - EPOCH_US] {
            assert_eq!(read(us), None, "{us}");
        }
        assert_eq!(read(-EPOCH_US), Some(UNIX_EPOCH));
        let day = Duration::from_hours(24);
        assert_eq!(read(86_400_000_000), Some(UNIX_EPOCH + 10_957 * day + day));
        assert!(read(BEYOND_US - EPOCH_US - 1).is_some());
    }
}
