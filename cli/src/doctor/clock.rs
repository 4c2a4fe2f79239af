//! Check: do the clocks of this machine, Vault and Postgres agree? Certificates, tokens and logins have a validity
//! period, and each side compares it with its own clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::CheckResult;
use crate::exit_code::Exit;
use crate::ui::time;

/// Difference in microseconds below which nothing is reported: it does no harm.
const NOTICED: i128 = 2_000_000;
/// Difference in microseconds that is a failure: Vault's certificates are valid from 30 seconds before signing.
const TOO_MUCH: i128 = 30_000_000;

/// Offset of another clock from ours, in microseconds. A request takes time, so the offset is a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockOffset {
    least: i128,
    most: i128,
}

impl ClockOffset {
    /// Computes the range: the other clock showed `time` at some moment between `asked` and `answered`.
    pub(super) fn new(time: SystemTime, asked: SystemTime, answered: SystemTime) -> Self {
        Self {
            least: micros(time) - micros(answered),
            most: micros(time) - micros(asked),
        }
    }

    /// As `new`, for a clock that reports whole seconds.
    pub(super) fn of_whole_seconds(
        time: SystemTime,
        asked: SystemTime,
        answered: SystemTime,
    ) -> Self {
        let ahead = Self::new(time, asked, answered);
        Self {
            most: ahead.most + 1_000_000,
            ..ahead
        }
    }

    fn relative_to(self, other: Self) -> Self {
        Self {
            least: self.least - other.most,
            most: self.most - other.least,
        }
    }

    /// Returns the smallest possible offset; 0 if the clocks may agree.
    fn minimum(self) -> i128 {
        if self.least > 0 {
            self.least
        } else {
            self.most.min(0)
        }
    }
}

fn micros(time: SystemTime) -> i128 {
    let number = |duration: Duration| i128::try_from(duration.as_micros()).unwrap_or(i128::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => number(since),
        Err(before) => -number(before.duration()),
    }
}

/// Compares our clock with Vault's.
pub(super) fn judge_own_clock(vault: ClockOffset) -> CheckResult<()> {
    // If Vault's clock is ahead, ours is behind.
    let off = -vault.minimum();
    let found = if off.abs() < NOTICED {
        "agrees with Vault's".to_owned()
    } else {
        format!("{} Vault's", by(off))
    };
    grade(
        off,
        found,
        "set the clock of this machine: `timedatectl set-ntp true`",
    )
}

/// Compares Postgres' clock with Vault's, so a wrong local clock is not blamed on Postgres.
pub(super) fn judge_postgres_clock(postgres: ClockOffset, vault: ClockOffset) -> CheckResult<()> {
    let off = postgres.relative_to(vault).minimum();
    let found = if off.abs() < NOTICED {
        "agrees with Vault's".to_owned()
    } else {
        format!("Postgres' clock is {} Vault's", by(off))
    };
    grade(
        off,
        found,
        "ask the operators of Postgres and Vault to synchronise their clocks",
    )
}

fn grade(off: i128, found: String, fix: &str) -> CheckResult<()> {
    match off.abs() {
        0..NOTICED => CheckResult::pass(found, ()),
        NOTICED..TOO_MUCH => CheckResult::warn(found, fix, ()),
        _ => CheckResult::fail(Exit::Config, found, fix),
    }
}

fn by(off: i128) -> String {
    let amount = u64::try_from(off.unsigned_abs()).unwrap_or(u64::MAX);
    let amount = time::duration(Duration::from_micros(amount));
    let side = if off > 0 { "ahead of" } else { "behind" };
    format!("{amount} {side}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(ms)
    }

    /// Offset for a request sent at 1000 s of our clock and answered 200 ms later.
    fn vault(says_ms: u64) -> ClockOffset {
        ClockOffset::of_whole_seconds(at(says_ms), at(1_000_000), at(1_000_200))
    }

    #[test]
    fn delay_and_rounding_are_not_reported() {
        for says in [999_000, 1_000_000, 1_001_000, 1_002_000] {
            let finding = judge_own_clock(vault(says));
            assert!(
                matches!(finding, CheckResult::Pass { .. }),
                "{says} {finding:?}"
            );
        }
    }

    #[test]
    fn seconds_are_a_warning_and_half_a_minute_a_failure() {
        for (says, what) in [(1_010_000, "behind"), (990_000, "ahead of")] {
            let CheckResult::Warn { found, .. } = judge_own_clock(vault(says)) else {
                panic!("no warning");
            };
            assert!(found.contains(what), "{found}");
        }
        for says in [1_031_000, 968_000] {
            assert!(matches!(
                judge_own_clock(vault(says)),
                CheckResult::Fail {
                    exit: Exit::Config,
                    ..
                }
            ));
        }
    }

    #[test]
    fn postgres_is_not_blamed_for_a_wrong_local_clock() {
        let postgres = |says| ClockOffset::new(at(says), at(1_000_000), at(1_000_100));
        let both = (postgres(1_600_500), vault(1_600_000));
        assert!(matches!(
            judge_postgres_clock(both.0, both.1),
            CheckResult::Pass { .. }
        ));
        assert!(matches!(judge_own_clock(both.1), CheckResult::Fail { .. }));
        let finding = judge_postgres_clock(postgres(1_600_500), vault(1_000_000));
        let CheckResult::Fail { found, .. } = finding else {
            panic!("{finding:?}");
        };
        assert!(found.contains("9m59s ahead of"), "{found}");
    }
}
