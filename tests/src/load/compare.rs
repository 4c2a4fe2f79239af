//! Compares stored events with the ledger of the load.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;

use super::ledger::Row;

/// A stored event, with the fields that a ledger can confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    Exec {
        process: ProcessId,
        at: BootNs,
        /// Second item of argv: the nonce of the load.
        nonce: String,
    },
    Exit {
        process: ProcessId,
        at: BootNs,
        /// Status in the form of wait(2).
        wait_status: u32,
    },
    /// Failed execs and moves. The loads here do not cause any.
    Other,
}

/// Differences. All are zero except `rows` when each process is stored exactly once and correctly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    pub rows: u64,
    pub missing_execs: u64,
    pub missing_exits: u64,
    pub duplicated: u64,
    /// Differences in pid, exit status, or a time outside of the interval in the ledger.
    pub wrong: u64,
    /// Events of processes that the load did not start.
    pub foreign: u64,
}

impl Difference {
    pub fn missing(self) -> u64 {
        self.missing_execs + self.missing_exits
    }

    /// Returns true when each process is stored once and correctly, and there are no other events.
    pub fn is_exact(self) -> bool {
        let Self {
            rows: _,
            missing_execs,
            missing_exits,
            duplicated,
            wrong,
            foreign,
        } = self;
        [missing_execs, missing_exits, duplicated, wrong, foreign] == [0; 5]
    }
}

/// Compares one session's events with the ledger of the load that ran in it.
pub fn compare(rows: &[Row], stored: impl IntoIterator<Item = Stored>) -> Difference {
    let mut difference = Difference {
        rows: rows.len() as u64,
        ..Difference::default()
    };
    let by_nonce: HashMap<&str, &Row> = rows.iter().map(|row| (row.nonce.as_str(), row)).collect();
    let mut execs: HashMap<ProcessId, &Row> = HashMap::with_capacity(rows.len());
    let mut seen: HashMap<&str, u64> = HashMap::with_capacity(rows.len());
    let mut exits: HashMap<ProcessId, (u64, BootNs, u32)> = HashMap::with_capacity(rows.len());
    for event in stored {
        match event {
            Stored::Exec { process, at, nonce } => match by_nonce.get(nonce.as_str()) {
                Some(row) => {
                    let right = row.pid == process.tgid && row.before <= at && at <= row.after;
                    difference.wrong += u64::from(!right);
                    *seen.entry(&row.nonce).or_default() += 1;
                    execs.insert(process, row);
                }
                None => difference.foreign += 1,
            },
            Stored::Exit {
                process,
                at,
                wait_status,
            } => exits.entry(process).or_insert((0, at, wait_status)).0 += 1,
            Stored::Other => difference.foreign += 1,
        }
    }
    difference.missing_execs = difference.rows - seen.len() as u64;
    difference.duplicated = seen.values().map(|count| count - 1).sum();
    for (process, row) in &execs {
        match exits.remove(process) {
            None => difference.missing_exits += 1,
            Some((count, at, wait_status)) => {
                let right = wait_status == row.wait_status && at <= row.after;
                difference.wrong += u64::from(!right);
                difference.duplicated += count - 1;
            }
        }
    }
    // A process without its exec has an exit that cannot be matched. Both are counted above.
    difference.missing_exits += difference.missing_execs;
    let strangers: u64 = exits.values().map(|(count, ..)| count).sum();
    let orphans = strangers.min(difference.missing_execs);
    difference.missing_exits -= orphans;
    difference.foreign += strangers - orphans;
    difference
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32) -> Row {
        Row {
            nonce: format!("{number}-r-{number}"),
            pid: 100 + number,
            before: BootNs(u64::from(number) * 100),
            after: BootNs(u64::from(number) * 100 + 50),
            wait_status: number << 8,
        }
    }

    fn events(row: &Row) -> [Stored; 2] {
        let process = ProcessId {
            tgid: row.pid,
            start: BootNs(row.before.0 + 1),
        };
        let exec = Stored::Exec {
            process,
            at: BootNs(row.before.0 + 2),
            nonce: row.nonce.clone(),
        };
        let exit = Stored::Exit {
            process,
            at: BootNs(row.before.0 + 3),
            wait_status: row.wait_status,
        };
        [exec, exit]
    }

    fn two() -> ([Row; 2], Vec<Stored>) {
        let rows = [row(1), row(2)];
        let stored = rows.iter().flat_map(events).collect();
        (rows, stored)
    }

    #[test]
    fn equal_is_exact() {
        let (rows, stored) = two();
        let difference = compare(&rows, stored);
        assert!(difference.is_exact(), "{difference:?}");
        assert_eq!(difference.rows, 2);
    }

    #[test]
    fn each_way_to_differ_is_counted() {
        let (rows, stored) = two();
        let change = |edit: &dyn Fn(&mut Vec<Stored>)| {
            let mut stored = stored.clone();
            edit(&mut stored);
            compare(&rows, stored)
        };
        let no_exec = change(&|stored| drop(stored.remove(0)));
        assert_eq!(
            (
                no_exec.missing_execs,
                no_exec.missing_exits,
                no_exec.foreign
            ),
            (1, 0, 0)
        );
        let no_exit = change(&|stored| drop(stored.remove(1)));
        assert_eq!((no_exit.missing_execs, no_exit.missing_exits), (0, 1));
        let neither = change(&|stored| drop(stored.drain(..2)));
        assert_eq!((neither.missing_execs, neither.missing_exits), (1, 1));
        let twice = change(&|stored| stored.extend_from_within(..));
        assert_eq!((twice.duplicated, twice.missing()), (4, 0));
        let stranger = change(&|stored| stored.extend(events(&row(7))));
        assert_eq!(stranger.foreign, 2);
        let wrong_code = change(&|stored| {
            if let Some(Stored::Exit { wait_status, .. }) = stored.get_mut(1) {
                *wait_status = 9;
            }
        });
        assert_eq!(wrong_code.wrong, 1);
    }
}
