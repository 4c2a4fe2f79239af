//! The numbers of a session that have arrived, and those that will not.

use std::collections::BTreeMap;

use vctl_common::time::BootNs;

/// Most runs of absent numbers that are kept one by one: 8192 sessions may each have as many.
const RUNS: usize = 128;
/// Runs that a session states one by one in its life. Later ones are stated as one for each statement.
const STATED_ONE_BY_ONE: usize = 1024;

/// The numbers of one session that have arrived.
///
/// Under a flood the ring takes single records of a session, and a run of numbers is absent between any two. Beyond [`RUNS`]
/// the two oldest runs become one, with their sum. So the count stays exact, and only the later runs name their numbers.
///
/// Several CPUs take numbers at once, before there is room in the ring, so records arrive a little out of
/// order. A number that is still absent when the ring has been read past its time is lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence {
    /// Highest number seen, and when.
    last: u64,
    last_at: BootNs,
    /// Runs of numbers below `last` that have not arrived, by their first number.
    awaited: BTreeMap<u64, Awaited>,
    /// Runs that were stated.
    stated: usize,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    last: u64,
    /// Absent numbers. In a merged run, fewer than from its first to its last.
    count: u64,
    from: BootNs,
    to: BootNs,
}

/// A run of numbers that will not arrive any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MissingNumbers {
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    /// How many are missing. If several runs were merged, others between the first and the last have arrived.
    pub(super) events: u64,
    pub(super) from: BootNs,
    pub(super) to: BootNs,
}

impl MissingNumbers {
    fn with(self, later: Self) -> Self {
        Self {
            first_seq: self.first_seq,
            last_seq: later.last_seq,
            events: self.events + later.events,
            from: self.from.min(later.from),
            to: self.to.max(later.to),
        }
    }
}

impl Awaited {
    fn is_exact(&self, first: u64) -> bool {
        self.count == self.last - first + 1
    }

    fn missing(self, first: u64) -> MissingNumbers {
        MissingNumbers {
            first_seq: first,
            last_seq: self.last,
            events: self.count,
            from: self.from,
            to: self.to,
        }
    }
}

impl Sequence {
    /// Begins after `stored` events that an earlier agent has counted.
    pub(super) fn after(stored: u64, at: BootNs) -> Self {
        Self {
            last: stored,
            last_at: at,
            ..Self::default()
        }
    }

    /// Returns the highest number that has arrived, or that an earlier agent has counted.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Notes that number `seq` has arrived.
    pub(super) fn see(&mut self, seq: u64, at: BootNs) {
        if seq > self.last {
            let before = (self.last + 1, self.last_at);
            self.last = seq;
            self.last_at = at;
            self.await_run(before.0, seq - 1, before.1, at);
        } else {
            self.fill(seq, at);
        }
    }

    /// Notes that the numbers from `first` to `last` are absent, if there are any.
    fn await_run(&mut self, first: u64, last: u64, from: BootNs, to: BootNs) {
        if first > last {
            return;
        }
        let count = last - first + 1;
        let run = Awaited {
            last,
            count,
            from,
            to,
        };
        self.awaited.insert(first, run);
        if self.awaited.len() > RUNS {
            self.merge_oldest();
        }
    }

    /// The oldest, because a number that is late arrives soon. Not the numbers from 1 on: their loss may have another cause.
    fn merge_oldest(&mut self) {
        let mut firsts = self.awaited.keys().copied().filter(|first| *first != 1);
        let (Some(first), Some(second)) = (firsts.next(), firsts.next()) else {
            return;
        };
        if let Some(later) = self.awaited.remove(&second)
            && let Some(run) = self.awaited.get_mut(&first)
        {
            *run = Awaited {
                last: later.last,
                count: run.count + later.count,
                from: run.from.min(later.from),
                to: run.to.max(later.to),
            };
        }
    }

    fn fill(&mut self, seq: u64, at: BootNs) {
        let Some((&first, &run)) = self.awaited.range(..=seq).next_back() else {
            return;
        };
        if seq > run.last {
            return;
        }
        self.awaited.remove(&first);
        if run.is_exact(first) {
            if seq > first {
                self.await_run(first, seq - 1, run.from, at);
            }
            self.await_run(seq + 1, run.last, at, run.to);
        } else if run.count > 1 {
            let count = run.count - 1;
            self.awaited.insert(first, Awaited { count, ..run });
        }
    }

    /// Returns whether every number up to `produced` has arrived.
    pub(super) fn is_whole(&self, produced: u64) -> bool {
        self.awaited.is_empty() && self.last >= produced
    }

    /// Gives up on all numbers up to `produced` that have not arrived by `now`. Of a merged run that goes on beyond, all are
    /// given up: it is older than [`RUNS`] others.
    pub(super) fn give_up(&mut self, produced: u64, now: BootNs) -> Vec<MissingNumbers> {
        let mut missing: Vec<MissingNumbers> = Vec::new();
        while let Some(run) = self.awaited.first_entry()
            && *run.key() <= produced
        {
            let (first, mut run) = run.remove_entry();
            if run.last > produced && run.is_exact(first) {
                self.await_run(produced + 1, run.last, run.from, run.to);
                run.last = produced;
                run.count = produced - first + 1;
            }
            missing.push(run.missing(first));
        }
        if produced > self.last {
            missing.push(MissingNumbers {
                first_seq: self.last + 1,
                last_seq: produced,
                events: produced - self.last,
                from: self.last_at,
                to: now,
            });
            self.last = produced;
            self.last_at = now;
        }
        if self.stated >= STATED_ONE_BY_ONE {
            let merged = missing.into_iter().reduce(MissingNumbers::with);
            missing = Vec::from_iter(merged);
        }
        self.stated += missing.len();
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
        assert_eq!(missing.iter().map(|m| m.events).sum::<u64>(), 7);
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

    #[test]
    fn many_runs_are_merged_and_their_count_stays_exact() {
        let mut sequence = Sequence::default();
        for n in 1..=40_000 {
            sequence.see(n * 3, BootNs(n));
        }
        assert!(sequence.awaited.len() <= RUNS);
        // Late, of a run that is kept, and of a merged one.
        sequence.see(119_999, BootNs(1));
        sequence.see(5, BootNs(1));
        let missing = sequence.give_up(120_000, BootNs(99));
        assert!(missing.len() <= RUNS, "{}", missing.len());
        let events: u64 = missing.iter().map(|m| m.events).sum();
        assert_eq!(events, 2 * 40_000 - 2);
        let first = missing[0];
        assert_eq!((first.first_seq, first.last_seq, first.events), (1, 2, 2));
        let last = missing[missing.len() - 1];
        assert_eq!((last.first_seq, last.last_seq), (119_998, 119_998));
        assert!(
            missing
                .windows(2)
                .all(|two| two[0].last_seq < two[1].first_seq)
        );
    }

    #[test]
    fn a_session_that_loses_all_its_life_states_few_gaps() {
        let mut sequence = Sequence::default();
        let (mut stated, mut events) = (0, 0);
        for look in 0..1000 {
            for n in 1..=10 {
                sequence.see(look * 20 + n * 2, BootNs(look));
            }
            let missing = sequence.give_up((look + 1) * 20, BootNs(look));
            stated += missing.len();
            events += missing.iter().map(|m| m.events).sum::<u64>();
        }
        assert_eq!(events, 10_000);
        assert!(stated < STATED_ONE_BY_ONE + 1000 + 10, "{stated}");
    }

    #[test]
    fn numbers_behind_the_given_one_are_still_awaited() {
        let mut sequence = seen(&[1, 9]);
        let missing = sequence.give_up(4, BootNs(99));
        assert_eq!((missing[0].first_seq, missing[0].last_seq), (2, 4));
        for seq in 5..9 {
            sequence.see(seq, BootNs(100));
        }
        assert!(sequence.is_whole(9));
    }
}
