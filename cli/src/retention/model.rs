//! Retention periods, stored days, and warnings about them. Pure.

use std::fmt;
use std::str::FromStr;

use vctl_common::count::{counted, form};

/// Retention period of one kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Period {
    Days(u16),
    Forever,
}

/// Number of days that stands for no limit. Postgres can still subtract it from a date.
const EVER: i32 = 1_000_000;

impl Period {
    /// Converts a number of days from the settings. 0 and numbers too large to count are unlimited.
    pub(crate) fn of_days(days: u32) -> Self {
        match u16::try_from(days) {
            Ok(0) | Err(_) => Self::Forever,
            Ok(days) => Self::Days(days),
        }
    }

    /// Returns the number of days, as the database's functions take it.
    pub(crate) fn days(self) -> i32 {
        match self {
            Self::Days(days) => days.into(),
            Self::Forever => EVER,
        }
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Ok(Self::Forever),
            Ok(days) => Ok(Self::Days(days)),
            Err(_) => {
                Err("expected a number of days up to 65535, or 0 to keep for ever".to_owned())
            }
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => f.write_str(&counted(*days, "day")),
            Self::Forever => f.write_str("ever"),
        }
    }
}

/// The three periods. A record must be kept at least as long as the records that are found through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Periods {
    pub(crate) events: Period,
    pub(crate) sessions: Period,
    pub(crate) accesses: Period,
}

impl Periods {
    /// Returns the conflict between two periods, if any: events are found through their session, and sessions through
    /// their access, so neither may be deleted earlier.
    pub(crate) fn conflict(self) -> Option<String> {
        let pairs = [
            (
                "sessions",
                "--session-days",
                self.sessions,
                "events",
                "--days",
                self.events,
            ),
            (
                "accesses",
                "--access-days",
                self.accesses,
                "sessions",
                "--session-days",
                self.sessions,
            ),
        ];
        pairs.into_iter().find_map(|(what, flag, keep, inner, inner_flag, inner_keep)| {
            (keep < inner_keep).then(|| {
                format!(
                    "`{flag}` would keep {what} for {keep}, but `{inner_flag}` keeps their {inner} for {inner_keep}"
                )
            })
        })
    }
}

/// Records that were deleted, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pruned {
    /// All events of one day.
    Partition {
        name: String,
        bytes: u64,
    },
    Sessions(u64),
    Gaps(u64),
    Accesses(u64),
}

/// The events of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredDay {
    /// `2026-11-24`
    pub(crate) date: String,
    /// Days from then to today; negative for a future day.
    pub(crate) age: i32,
    pub(crate) bytes: u64,
    /// Estimate of Postgres.
    pub(crate) events: u64,
}

/// A table other than the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredTable {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) live: u64,
    pub(crate) dead: u64,
    /// The day of its oldest row.
    pub(crate) oldest: Option<String>,
}

/// The records stored now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredRecords {
    /// Oldest first.
    pub(crate) days: Vec<StoredDay>,
    pub(crate) tables: Vec<StoredTable>,
    /// Sessions that were opened before the session period and never closed.
    pub(crate) never_closed: u64,
}

/// A table of this size with so few rows is mostly unused space.
const LARGE: u64 = 1 << 30;
const FEW: u64 = 100_000;

impl StoredRecords {
    /// Returns the warnings, one line each.
    pub(crate) fn warnings(&self, periods: Periods) -> Vec<String> {
        let mut warnings = Vec::new();
        let old = self
            .days
            .iter()
            .filter(|day| day.age > periods.events.days());
        let old = old.count();
        if old > 0 {
            warnings.push(format!(
                "events of {} are older than {}: does `vctl prune` run?",
                counted(old, "day"),
                periods.events
            ));
        }
        if !self.days.iter().any(|day| day.age == -1) {
            warnings.push(
                "there is no partition for tomorrow yet: run `vctl prune`, which creates those of the next week"
                    .to_owned(),
            );
        }
        if self.never_closed > 0 {
            warnings.push(format!(
                "{} older than {} {} never closed, because the host did not report an end; {} not deleted",
                counted(self.never_closed, "session"),
                periods.sessions,
                form(self.never_closed, "was", "were"),
                form(self.never_closed, "it is", "they are")
            ));
        }
        for table in &self.tables {
            if table.bytes > LARGE && table.live < FEW {
                warnings.push(format!(
                    "`{}` takes more than 1 GiB for {}: `VACUUM FULL` frees the unused space",
                    table.name,
                    counted(table.live, "row")
                ));
            } else if table.dead > FEW && table.dead > table.live {
                warnings.push(format!(
                    "`{}` has more dead rows than live ones: does autovacuum run?",
                    table.name
                ));
            }
        }
        warnings
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const USUAL: Periods = Periods {
        events: Period::Days(14),
        sessions: Period::Days(365),
        accesses: Period::Days(1095),
    };

    pub(crate) fn day(age: i32) -> StoredDay {
        StoredDay {
            date: format!("2026-11-{:02}", 24 - age),
            age,
            bytes: 3 << 20,
            events: 12_000,
        }
    }

    fn table(bytes: u64, live: u64, dead: u64) -> StoredTable {
        StoredTable {
            name: "audit_session".to_owned(),
            bytes,
            live,
            dead,
            oldest: None,
        }
    }

    #[test]
    fn events_and_sessions_cannot_outlive_their_owners() {
        assert_eq!(USUAL.conflict(), None);
        let short = Periods {
            sessions: Period::Days(13),
            ..USUAL
        };
        assert_eq!(
            short.conflict().unwrap(),
            "`--session-days` would keep sessions for 13 days, but `--days` keeps their events for 14 days"
        );
        let access = Periods {
            sessions: Period::Forever,
            ..USUAL
        };
        assert!(
            access
                .conflict()
                .unwrap()
                .starts_with("`--access-days` would")
        );
        let all = Periods {
            accesses: Period::Forever,
            ..access
        };
        assert_eq!(all.conflict(), None);
    }

    #[test]
    fn zero_days_mean_no_limit() {
        assert_eq!("0".parse(), Ok(Period::Forever));
        assert_eq!("14".parse(), Ok(Period::Days(14)));
        for text in ["-1", "", "x", "70000", "1.5"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn old_days_and_a_missing_tomorrow_are_warned_of() {
        let well = StoredRecords {
            days: vec![day(14), day(0), day(-1)],
            ..StoredRecords::default()
        };
        assert_eq!(well.warnings(USUAL), Vec::<String>::new());
        let ill = StoredRecords {
            days: vec![day(15), day(0)],
            never_closed: 2,
            ..StoredRecords::default()
        };
        let warnings = ill.warnings(USUAL);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].starts_with("events of 1 day are older than 14 days"));
    }

    #[test]
    fn bloated_tables_are_warned_of() {
        let warns = |table: StoredTable| {
            let kept = StoredRecords {
                days: vec![day(-1)],
                tables: vec![table],
                never_closed: 0,
            };
            kept.warnings(USUAL).len()
        };
        assert_eq!(warns(table(2 << 30, 99_000, 0)), 1);
        assert_eq!(warns(table(2 << 30, 101_000, 0)), 0);
        assert_eq!(warns(table(1 << 20, 100, 0)), 0);
        assert_eq!(warns(table(1 << 29, 100_000, 100_001)), 1);
    }
}
