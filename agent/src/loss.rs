//! Every way an event can vanish, counted in one place.
//!
//! | where | how it shows | what is written |
//! |---|---|---|
//! | the ring has no room | a session number that never arrives, and the kernel's counter | `RingFull` |
//! | the kernel skips a probe | its count of recursion misses | `ProbeSkipped` |
//! | the map of marks is full at a fork | the session's `unmarked_forks` | `MarksFull` |
//! | a record cannot be decoded | here | `Undecodable` |
//! | the login is stamped late, or never | the marker | `StampedLate` |
//! | no hook asks for a login: it cannot start, or was killed | the map `logins` | `LoginWithoutStamp` |
//! | no probe was there | what the spool says of the time before | `ProbeAway` |
//! | the spool drops or cannot read a segment | the spool | `SpoolCap`, `SpoolDamaged` |
//! | a session is over its byte budget | no event is lost: argv is cut | `EXEC_OVER_BUDGET` on the exec |

use std::collections::BTreeMap;

use vctl_common::time::BootNs;

/// Which numbers of one session have arrived.
///
/// Numbers are taken before there is room in the ring, on several CPUs at once, so they arrive a
/// little out of order; one that is still away when the ring has been read past its time is lost.
#[derive(Clone, Debug, Default)]
pub struct Sequence {
    /// Highest number seen, and when.
    last: u64,
    last_at: BootNs,
    /// Numbers below `last` that have not come: first → the rest of what is known of the hole.
    holes: BTreeMap<u64, Hole>,
}

#[derive(Clone, Copy, Debug)]
struct Hole {
    last: u64,
    from: BootNs,
    to: BootNs,
}

/// A run of numbers that will not come any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    pub first_seq: u64,
    pub last_seq: u64,
    pub from: BootNs,
    pub to: BootNs,
}

impl Missing {
    pub fn events(&self) -> u64 {
        self.last_seq - self.first_seq + 1
    }
}

impl Sequence {
    /// Begins after `stored` events that an earlier agent has dealt with.
    pub fn after(stored: u64, at: BootNs) -> Self {
        Self {
            last: stored,
            last_at: at,
            holes: BTreeMap::new(),
        }
    }

    /// Notes that number `seq` has arrived.
    pub fn see(&mut self, seq: u64, at: BootNs) {
        if seq == self.last + 1 {
            self.last = seq;
            self.last_at = at;
        } else if seq > self.last {
            let hole = Hole {
                last: seq - 1,
                from: self.last_at,
                to: at,
            };
            self.holes.insert(self.last + 1, hole);
            self.last = seq;
            self.last_at = at;
        } else {
            self.fill(seq, at);
        }
    }

    fn fill(&mut self, seq: u64, at: BootNs) {
        let Some((&first, &hole)) = self.holes.range(..=seq).next_back() else {
            return;
        };
        if seq > hole.last {
            return;
        }
        self.holes.remove(&first);
        if first < seq {
            self.holes.insert(
                first,
                Hole {
                    last: seq - 1,
                    from: hole.from,
                    to: at,
                },
            );
        }
        if seq < hole.last {
            self.holes.insert(
                seq + 1,
                Hole {
                    last: hole.last,
                    from: at,
                    to: hole.to,
                },
            );
        }
    }

    /// Returns whether every number up to `produced` has arrived.
    pub fn is_whole(&self, produced: u64) -> bool {
        self.holes.is_empty() && self.last >= produced
    }

    /// Gives up on all numbers up to `produced` that have not arrived by `now`.
    pub fn give_up(&mut self, produced: u64, now: BootNs) -> Vec<Missing> {
        let mut missing: Vec<Missing> = Vec::new();
        let reachable: Vec<u64> = self
            .holes
            .range(..=produced)
            .map(|(&first, _)| first)
            .collect();
        for first in reachable {
            if let Some(hole) = self.holes.remove(&first) {
                missing.push(Missing {
                    first_seq: first,
                    last_seq: hole.last,
                    from: hole.from,
                    to: hole.to,
                });
            }
        }
        if produced > self.last {
            missing.push(Missing {
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
    fn numbers_out_of_order_leave_no_hole() {
        let sequence = seen(&[2, 1, 5, 4, 3]);
        assert!(sequence.is_whole(5));
    }

    #[test]
    fn what_never_comes_is_told_to_the_number() {
        let mut sequence = seen(&[1, 4, 5, 9, 7]);
        assert!(!sequence.is_whole(9));
        let missing = sequence.give_up(12, BootNs(200));
        let runs: Vec<_> = missing.iter().map(|m| (m.first_seq, m.last_seq)).collect();
        assert_eq!(runs, [(2, 3), (6, 6), (8, 8), (10, 12)]);
        assert_eq!(missing.iter().map(Missing::events).sum::<u64>(), 7);
        assert_eq!((missing[0].from, missing[0].to), (BootNs(10), BootNs(40)));
    }

    #[test]
    fn a_hole_is_reported_once() {
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
