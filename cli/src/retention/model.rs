//! How long what is kept, and what is odd about what there is. Pure.

use std::fmt;
use std::str::FromStr;

use vctl_common::count::{counted, form};

/// How long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Keep {
    Days(u16),
    Forever,
}

/// Days since which nothing was recorded, and which Postgres can still count back.
const EVER: i32 = 1_000_000;

impl Keep {
    /// Returns what a number of days means as a setting: 0 is for ever, and so is more than can be
    /// counted.
    pub(crate) fn of_days(days: u32) -> Self {
        match u16::try_from(days) {
            Ok(0) | Err(_) => Self::Forever,
            Ok(days) => Self::Days(days),
        }
    }

    /// As the database's functions take it.
    pub(crate) fn days(self) -> i32 {
        match self {
            Self::Days(days) => days.into(),
            Self::Forever => EVER,
        }
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) => Ok(Self::Forever),
            Ok(days) => Ok(Self::Days(days)),
            Err(_) => Err("a number of days up to 65535, or 0 for ever".to_owned()),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => f.write_str(&counted(*days, "day")),
            Self::Forever => f.write_str("ever"),
        }
    }
}

/// The three periods. What leads to something else is kept no shorter than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Periods {
    pub(crate) events: Keep,
    pub(crate) sessions: Keep,
    pub(crate) accesses: Keep,
}

impl Periods {
    /// Returns what is wrong: the events of a session that is gone, and the session of an access that
    /// is, could be found by nobody.
    pub(crate) fn problem(self) -> Option<String> {
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

/// What is taken away, or would be.
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
pub(crate) struct Day {
    /// `2026-11-24`
    pub(crate) date: String,
    /// Days from then to today; negative for one to come.
    pub(crate) age: i32,
    pub(crate) bytes: u64,
    /// As Postgres last counted.
    pub(crate) events: u64,
}

/// A table beside the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) live: u64,
    pub(crate) dead: u64,
    /// The day of its oldest row.
    pub(crate) oldest: Option<String>,
}

/// What is kept now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Oldest first.
    pub(crate) days: Vec<Day>,
    pub(crate) tables: Vec<Table>,
    /// Sessions that were opened before the session period and never closed.
    pub(crate) never_closed: u64,
}

/// A table of this size for so few rows is mostly air.
const LARGE: u64 = 1 << 30;
const FEW: u64 = 100_000;

impl Kept {
    /// Returns what somebody should know, one line each.
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
                "there is no partition for tomorrow yet: `vctl prune` makes those of the next week"
                    .to_owned(),
            );
        }
        if self.never_closed > 0 {
            warnings.push(format!(
                "{} older than {} {} never closed, because the host did not report an end; {} kept",
                counted(self.never_closed, "session"),
                periods.sessions,
                form(self.never_closed, "was", "were"),
                form(self.never_closed, "it is", "they are")
            ));
        }
        for table in &self.tables {
            if table.bytes > LARGE && table.live < FEW {
                warnings.push(format!(
                    "`{}` takes more than 1 GiB for {}: `VACUUM FULL` gives it back",
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
        events: Keep::Days(14),
        sessions: Keep::Days(365),
        accesses: Keep::Days(1095),
    };

    pub(crate) fn day(age: i32) -> Day {
        Day {
            date: format!("2026-11-{:02}", 24 - age),
            age,
            bytes: 3 << 20,
            events: 12_000,
        }
    }

    fn table(bytes: u64, live: u64, dead: u64) -> Table {
        Table {
            name: "audit_session".to_owned(),
            bytes,
            live,
            dead,
            oldest: None,
        }
    }

    #[test]
    fn what_leads_to_something_is_kept_no_shorter_than_that() {
        assert_eq!(USUAL.problem(), None);
        let short = Periods {
            sessions: Keep::Days(13),
            ..USUAL
        };
        assert_eq!(
            short.problem().unwrap(),
            "`--session-days` would keep sessions for 13 days, but `--days` keeps their events for 14 days"
        );
        let access = Periods {
            sessions: Keep::Forever,
            ..USUAL
        };
        assert!(
            access
                .problem()
                .unwrap()
                .starts_with("`--access-days` would")
        );
        let all = Periods {
            accesses: Keep::Forever,
            ..access
        };
        assert_eq!(all.problem(), None);
    }

    #[test]
    fn zero_days_are_for_ever_and_nothing_else_is() {
        assert_eq!("0".parse(), Ok(Keep::Forever));
        assert_eq!("14".parse(), Ok(Keep::Days(14)));
        for text in ["-1", "", "x", "70000", "1.5"] {
            assert!(text.parse::<Keep>().is_err(), "{text}");
        }
    }

    #[test]
    fn days_that_should_be_gone_and_a_tomorrow_that_is_missing_are_told() {
        let well = Kept {
            days: vec![day(14), day(0), day(-1)],
            ..Kept::default()
        };
        assert_eq!(well.warnings(USUAL), Vec::<String>::new());
        let ill = Kept {
            days: vec![day(15), day(0)],
            never_closed: 2,
            ..Kept::default()
        };
        let warnings = ill.warnings(USUAL);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].starts_with("events of 1 day are older than 14 days"));
    }

    #[test]
    fn a_table_of_air_and_one_of_dead_rows_are_told() {
        let warns = |table: Table| {
            let kept = Kept {
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
