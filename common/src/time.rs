//! The kernel's boot clock, and its conversion to wall time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_BOOTTIME`, which also runs during suspend and never steps.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct BootNs(pub u64);

impl BootNs {
    /// Returns the time from `earlier` to `self`; zero when `self` is the earlier one.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Difference between a boot time and nanoseconds since the Unix epoch.
///
/// Read from both clocks at one moment and stored with each batch of events. When the wall clock is
/// stepped, earlier events keep the time that was right for them. Durations come from the boot
/// clock alone and do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WallOffset(i64);

impl WallOffset {
    pub fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    pub fn as_ns(self) -> i64 {
        self.0
    }

    /// Returns the offset from both clocks at one moment; wall clocks before 1970 or after 2262
    /// count as 1970 and 2262.
    pub fn between(boot: BootNs, wall: SystemTime) -> Self {
        let wall_ns = wall.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let wall_ns = i64::try_from(wall_ns).unwrap_or(i64::MAX);
        Self(wall_ns.saturating_sub_unsigned(boot.0))
    }

    /// Returns the wall time of a boot time; never before 1970.
    pub fn wall_time(self, at: BootNs) -> SystemTime {
        let ns = self.0.saturating_add_unsigned(at.0);
        UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
    }
}

/// Returns the wall clock. This is the only caller of `SystemTime::now`, so that tests can set the
/// time.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the wall clock"
)]
pub fn wall_now() -> SystemTime {
    SystemTime::now()
}

/// From this difference in seconds on, a host's clock counts as wrong. Vault's certificates are
/// valid from half a minute before Vault's own time, so a host that is further behind calls them
/// not yet valid.
pub const WRONG_CLOCK_S: u64 = 30;

/// Returns whether a clock that is this many seconds ahead is wrong.
pub fn is_wrong_clock(ahead: i64) -> bool {
    ahead.unsigned_abs() >= WRONG_CLOCK_S
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_on_either_side_of_the_anchor_gets_its_wall_time() {
        let wall = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let offset = WallOffset::between(BootNs(5_000_000_000), wall);
        assert_eq!(
            offset.wall_time(BootNs(6_000_000_000)),
            wall + Duration::from_secs(1)
        );
        assert_eq!(
            offset.wall_time(BootNs(4_000_000_000)),
            wall - Duration::from_secs(1)
        );
    }

    #[test]
    fn no_clock_makes_a_time_panic() {
        let offset = WallOffset::between(BootNs(u64::MAX), UNIX_EPOCH);
        assert_eq!(offset.wall_time(BootNs(0)), UNIX_EPOCH);
        let late = WallOffset::from_ns(i64::MAX);
        assert!(late.wall_time(BootNs(u64::MAX)) > UNIX_EPOCH);
    }

    #[test]
    fn a_duration_is_never_negative() {
        assert_eq!(BootNs(3).since(BootNs(8)), Duration::ZERO);
    }
}
