//! Every way to lose an event, in one table, and the numbers of a session that have arrived.
//!
//! | where | how it shows | gap |
//! |---|---|---|
//! | the ring has no room | a session number that never arrives, and the kernel's counter | `RingFull` |
//! | the kernel skips a probe | its count of recursion misses | `ProbeSkipped` |
//! | the map of marks is full at a fork | the session's `unmarked_forks` | `MarksFull` |
//! | a map is full at a login | the kernel accepts no mark: the login is tried again | `StampedLate`, then `MarksFull` |
//! | the kernel refuses to remove a mark at an exit | as a ring without room | `RingFull` |
//! | a record cannot be decoded | the pipeline counts it | `Undecodable` |
//! | the login is stamped late, or never | the file of the late login | `StampedLate` |
//! | no hook asks for a login: it cannot start, or was killed | the map `logins` | `LoginWithoutStamp` |
//! | no probe was loaded | the time since the last event in the spool | `ProbeAway` |
//! | the spool drops or cannot read a segment | the spool | `SpoolCap`, `SpoolDamaged` |
//! | JetStream loses batches | no earlier message, and the cursor is before | `StreamLost` |
//! | the centre loses batches that the spool has dropped | the cursor is before a shipped position | `CentreLost` |
//! | a session is over its byte budget | no event is lost: argv is cut | `EXEC_OVER_BUDGET` on the exec |

use std::collections::BTreeMap;

use vctl_common::time::BootNs;

/// The numbers of one session that have arrived.
///
/// Several CPUs take numbers at once, before there is room in the ring, so records arrive a little out of
/// order. A number that is still absent when the ring has been read past its time is lost.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// Highest number seen, and when.
    last: u64,
    last_at: BootNs,
    /// Runs of numbers below `last` that have not arrived, by their first number.
    awaited: BTreeMap<u64, Awaited>,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    last: u64,
    from: BootNs,
    to: BootNs,
}

/// A run of numbers that will not arrive any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingNumbers {
    pub first_seq: u64,
    pub last_seq: u64,
    pub from: BootNs,
    pub to: BootNs,
}

impl MissingNumbers {
    pub fn events(&self) -> u64 {
        self.last_seq - self.first_seq + 1
    }
}

impl Sequence {
    /// Begins after `stored` events that an earlier agent has counted.
    pub fn after(stored: u64, at: BootNs) -> Self {
        Self {
            last: stored,
            last_at: at,
            awaited: BTreeMap::new(),
        }
    }

    /// Notes that number `seq` has arrived.
    pub fn see(&mut self, seq: u64, at: BootNs) {
        if seq == self.last + 1 {
            self.last = seq;
            self.last_at = at;
        } else if seq > self.last {
            let awaited = Awaited {
                last: seq - 1,
                from: self.last_at,
                to: at,
            };
            self.awaited.insert(self.last + 1, awaited);
            self.last = seq;
            self.last_at = at;
        } else {
            self.fill(seq, at);
        }
    }

    fn fill(&mut self, seq: u64, at: BootNs) {
        let Some((&first, &awaited)) = self.awaited.range(..=seq).next_back() else {
            return;
        };
        if seq > awaited.last {
            return;
        }
        self.awaited.remove(&first);
        if first < seq {
            self.awaited.insert(
                first,
                Awaited {
                    last: seq - 1,
                    from: awaited.from,
                    to: at,
                },
            );
        }
        if seq < awaited.last {
            self.awaited.insert(
                seq + 1,
                Awaited {
                    last: awaited.last,
                    from: at,
                    to: awaited.to,
                },
            );
        }
    }

    /// Returns whether every number up to `produced` has arrived.
    pub fn is_whole(&self, produced: u64) -> bool {
        self.awaited.is_empty() && self.last >= produced
    }

    /// Gives up on all numbers up to `produced` that have not arrived by `now`.
    pub fn give_up(&mut self, produced: u64, now: BootNs) -> Vec<MissingNumbers> {
        let mut missing: Vec<MissingNumbers> = Vec::new();
        let reachable: Vec<u64> = self
            .awaited
            .range(..=produced)
            .map(|(&first, _)| first)
            .collect();
        for first in reachable {
            if let Some(awaited) = self.awaited.remove(&first) {
                missing.push(MissingNumbers {
                    first_seq: first,
                    last_seq: awaited.last,
                    from: awaited.from,
                    to: awaited.to,
                });
            }
        }
        if produced > self.last {
            missing.push(MissingNumbers {
                first_seq: self.last + 1,
                last_seq: produced,
                from: self.last_at,
                to: now,
            });
            self.last = produced;
            self.last_at = now;
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(numbers: &[u64]) -> Sequence {
        let mut sequence = Sequence::default();
        for &seq in numbers {
            sequence.see(seq, BootNs(seq * 10));
        }
        sequence
    }

    #[test]
    fn numbers_out_of_order_are_not_missing() {
        let sequence = seen(&[2, 1, 5, 4, 3]);
        assert!(sequence.is_whole(5));
    }

    #[test]
    fn missing_numbers_are_reported_exactly() {
        let mut sequence = seen(&[1, 4, 5, 9, 7]);
        assert!(!sequence.is_whole(9));
        let missing = sequence.give_up(12, BootNs(200));
        let runs: Vec<_> = missing.iter().map(|m| (m.first_seq, m.last_seq)).collect();
        assert_eq!(runs, [(2, 3), (6, 6), (8, 8), (10, 12)]);
        assert_eq!(missing.iter().map(MissingNumbers::events).sum::<u64>(), 7);
        assert_eq!((missing[0].from, missing[0].to), (BootNs(10), BootNs(40)));
    }

    #[test]
    fn missing_numbers_are_reported_once() {
        let mut sequence = seen(&[1, 3]);
        assert_eq!(sequence.give_up(3, BootNs(99)).len(), 1);
        assert!(sequence.give_up(3, BootNs(99)).is_empty());
    }

    #[test]
    fn a_number_seen_twice_changes_nothing() {
        let mut sequence = seen(&[1, 2, 2, 1]);
        assert!(sequence.is_whole(2));
        assert!(sequence.give_up(2, BootNs(99)).is_empty());
    }
}
