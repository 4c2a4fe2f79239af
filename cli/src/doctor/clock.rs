//! Whether the clocks of this machine, Vault and Postgres agree: certificates, tokens and logins are valid
//! from one moment to another, and each side has its own idea of when that is.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Finding;
use crate::exit_code::Exit;
use crate::ui::time;

/// By which hosts and people may be off without anybody noticing.
const NOTICED: i128 = 2_000_000;
/// A certificate of Vault's is valid from half a minute before it was signed.
const TOO_MUCH: i128 = 30_000_000;

/// How far another clock is ahead of ours, in microseconds, as far as a question and its answer tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    least: i128,
    most: i128,
}

impl Ahead {
    /// The other clock said `time` at some moment between `asked` and `answered`.
    pub(super) fn new(time: SystemTime, asked: SystemTime, answered: SystemTime) -> Self {
        Self {
            least: micros(time) - micros(answered),
            most: micros(time) - micros(asked),
        }
    }

    /// As `new`, from a clock that leaves out what is less than a second.
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

    fn of_another(self, other: Self) -> Self {
        Self {
            least: self.least - other.most,
            most: self.most - other.least,
        }
    }

    /// Returns what it is at least; nothing where the clocks may as well agree.
    fn certain(self) -> i128 {
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

/// Judges our own clock by that of Vault.
pub(super) fn judge_own(vault: Ahead) -> Finding<()> {
    // Theirs is ahead: ours is behind.
    let off = -vault.certain();
    let found = if off.abs() < NOTICED {
        "as Vault's".to_owned()
    } else {
        format!("{} Vault's", by(off))
    };
    grade(
        off,
        found,
        "set the clock of this machine: `timedatectl set-ntp true`",
    )
}

/// Judges Postgres' clock by that of Vault, so that it is not its fault when ours is wrong.
pub(super) fn judge_postgres(postgres: Ahead, vault: Ahead) -> Finding<()> {
    let off = postgres.of_another(vault).certain();
    let found = if off.abs() < NOTICED {
        "as Vault's".to_owned()
    } else {
        format!("Postgres' clock is {} Vault's", by(off))
    };
    grade(
        off,
        found,
        "ask whoever operates Postgres and Vault to synchronise their clocks",
    )
}

fn grade(off: i128, found: String, fix: &str) -> Finding<()> {
    match off.abs() {
        0..NOTICED => Finding::pass(found, ()),
        NOTICED..TOO_MUCH => Finding::warn(found, fix, ()),
        _ => Finding::fail(Exit::Config, found, fix),
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

    /// Asked when ours says 1000 s, answered 200 ms later.
    fn vault(says_ms: u64) -> Ahead {
        Ahead::of_whole_seconds(at(says_ms), at(1_000_000), at(1_000_200))
    }

    #[test]
    fn what_a_whole_second_and_the_way_leave_open_is_nobodys_fault() {
        for says in [999_000, 1_000_000, 1_001_000, 1_002_000] {
            let finding = judge_own(vault(says));
            assert!(
                matches!(finding, Finding::Pass { .. }),
                "{says} {finding:?}"
            );
        }
    }

    #[test]
    fn a_clock_half_a_minute_off_is_wrong_and_one_of_seconds_is_warned_of() {
        for (says, what) in [(1_010_000, "behind"), (990_000, "ahead of")] {
            let Finding::Warn { found, .. } = judge_own(vault(says)) else {
                panic!("no warning");
            };
            assert!(found.contains(what), "{found}");
        }
        for says in [1_031_000, 968_000] {
            assert!(matches!(
                judge_own(vault(says)),
                Finding::Fail {
                    exit: Exit::Config,
                    ..
                }
            ));
        }
    }

    #[test]
    fn postgres_is_not_blamed_when_it_is_ours_that_is_wrong() {
        let postgres = |says| Ahead::new(at(says), at(1_000_000), at(1_000_100));
        let both = (postgres(1_600_500), vault(1_600_000));
        assert!(matches!(
            judge_postgres(both.0, both.1),
            Finding::Pass { .. }
        ));
        assert!(matches!(judge_own(both.1), Finding::Fail { .. }));
        let finding = judge_postgres(postgres(1_600_500), vault(1_000_000));
        let Finding::Fail { found, .. } = finding else {
            panic!("{finding:?}");
        };
        assert!(found.contains("9m59s ahead of"), "{found}");
    }
}
