//! Decides when numbers that have not arrived are lost. No I/O.
//!
//! A number is taken before its record is in the ring, and in between the CPU may be busy with other work. So the numbers
//! that the kernel had given out at one look are lost if they are absent after [`SETTLE`] looks. This holds also while
//! more losses follow: otherwise a session that keeps the ring full would put off every gap.

use std::time::{Duration, Instant};

use vctl_common::wire::{Mark, SessionCounters};

use crate::probe::maps::HostCounters;

/// Looks at the ring after which an absent number is lost.
const SETTLE: u8 = 3;
/// Interval between two statements of losses that go on: each is an entry in the spool, for every session that loses.
const STATED_EVERY: Duration = Duration::from_secs(1);

/// One look at the ring: from where it was read last to where the kernel was when the look began.
///
/// A look may take several drains. New records do not prolong it.
#[derive(Debug)]
pub(super) struct Look {
    /// End of the look in the ring.
    pub(super) end: u64,
    /// The kernel's counters, read before `end`: numbers up to these are in the ring before `end`, lost, or on their way.
    pub(super) produced: Vec<(Mark, SessionCounters)>,
    /// The counters are those of all sessions.
    pub(super) has_all: bool,
}

/// The losses that are noticed and not stated yet.
#[derive(Debug)]
pub(super) struct LossWatch {
    counters: HostCounters,
    /// Events were lost since the counters of `suspects` were read.
    is_any_new: bool,
    suspects: Option<Suspects>,
    stated_at: Option<Instant>,
    /// When losses are due that a session could not state yet.
    deferred_to: Option<Instant>,
    /// The next statement is the last one of this agent.
    is_last: bool,
}

/// Numbers that are lost if they are absent after some more looks.
#[derive(Debug)]
struct Suspects {
    produced: Vec<(Mark, SessionCounters)>,
    looks: u8,
}

impl LossWatch {
    /// Events of a probe that ran without an agent may be lost already.
    pub(super) fn new(counters: HostCounters, was_alone: bool) -> Self {
        Self {
            counters,
            is_any_new: was_alone,
            suspects: None,
            stated_at: None,
            deferred_to: None,
            is_last: false,
        }
    }

    /// Returns whether a look that begins now needs the counters of all sessions.
    pub(super) fn needs_all(&self, now: Instant) -> bool {
        let is_due = |at: Instant| now.duration_since(at) >= STATED_EVERY;
        let is_any = self.is_any_new || self.deferred_to.is_some_and(|at| now >= at);
        is_any && self.suspects.is_none() && self.stated_at.is_none_or(is_due)
    }

    /// Notes that losses of a session are not stated before `at`.
    pub(super) fn defer_to(&mut self, at: Instant) {
        self.deferred_to = Some(at);
    }

    /// Begins the last statement of this agent, if there are losses to state. It waits for no interval.
    pub(super) fn begin_last(&mut self) {
        self.is_last = self.is_settling() || self.deferred_to.is_some();
        if self.is_last {
            self.is_any_new = true;
            self.suspects = None;
            self.stated_at = None;
        }
    }

    /// Returns whether the last statement of this agent is still to come.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }

    /// Returns whether losses wait for further looks.
    pub(super) fn is_settling(&self) -> bool {
        self.is_any_new || self.suspects.is_some()
    }

    /// Notes that a look is over. `counters` are those of now. Returns the sessions, and the counters up to which their
    /// absent numbers are lost.
    pub(super) fn looked(
        &mut self,
        look: Look,
        counters: HostCounters,
        now: Instant,
    ) -> Vec<(Mark, SessionCounters)> {
        // These losses may be from before the look's counters were read. Then they are stated once more for nothing.
        let has_lost = counters.ring_full != self.counters.ring_full
            || counters.marks_full != self.counters.marks_full;
        self.counters = counters;
        if look.has_all {
            self.suspects = Some(Suspects {
                produced: look.produced,
                looks: SETTLE - 1,
            });
            self.is_any_new = has_lost;
            self.deferred_to = None;
            return Vec::new();
        }
        self.is_any_new |= has_lost;
        let Some(suspects) = &mut self.suspects else {
            return Vec::new();
        };
        suspects.looks -= 1;
        if suspects.looks > 0 {
            return Vec::new();
        }
        self.stated_at = Some(now);
        self.is_last = false;
        self.suspects
            .take()
            .map_or_else(Vec::new, |suspects| suspects.produced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring that is full at each look but the last ones. Returns at which looks, of 100 ms each, losses are stated.
    fn stated_at(full: u64, looks: u64) -> Vec<(u64, u64)> {
        let begun = Instant::now();
        let mut watch = LossWatch::new(HostCounters::default(), false);
        let mut stated = Vec::new();
        for look in 1..=looks {
            let now = begun + Duration::from_millis(100 * look);
            let has_all = watch.needs_all(now);
            let counters = SessionCounters {
                seq: look,
                ..SessionCounters::default()
            };
            let produced = if has_all { vec![(7, counters)] } else { vec![] };
            let over = Look {
                end: look,
                produced,
                has_all,
            };
            let lost = HostCounters {
                ring_full: look.min(full),
                ..HostCounters::default()
            };
            let lost = watch.looked(over, lost, now);
            stated.extend(lost.iter().map(|(_, counters)| (look, counters.seq)));
        }
        assert_eq!(watch.is_settling(), full >= looks);
        stated
    }

    #[test]
    fn a_loss_is_stated_after_three_looks() {
        assert_eq!(stated_at(1, 20), [(4, 2)]);
        assert_eq!(stated_at(0, 20), []);
    }

    #[test]
    fn losses_that_go_on_are_stated_all_the_same() {
        let stated = stated_at(u64::MAX, 60);
        assert_eq!(stated[..3], [(4, 2), (16, 14), (28, 26)]);
        // At most once a second, and each time for numbers that are three looks old.
        assert!(stated.windows(2).all(|two| two[1].0 - two[0].0 >= 10));
        assert!(stated.iter().all(|(look, seq)| look - seq == 2));
    }

    /// Looks without a new loss. Returns at which of them losses are stated.
    fn stated_in(watch: &mut LossWatch, looks: std::ops::Range<u64>, begun: Instant) -> Vec<u64> {
        let mut stated = Vec::new();
        for look in looks {
            let now = begun + Duration::from_millis(100 * look);
            let has_all = watch.needs_all(now);
            let over = Look {
                end: look,
                produced: if has_all {
                    vec![(7, SessionCounters::default())]
                } else {
                    vec![]
                },
                has_all,
            };
            let lost = watch.looked(over, HostCounters::default(), now);
            stated.extend(lost.iter().map(|_| look));
        }
        stated
    }

    #[test]
    fn losses_while_no_agent_ran_are_stated_at_the_start() {
        let begun = Instant::now();
        let mut watch = LossWatch::new(HostCounters::default(), true);
        assert_eq!(stated_in(&mut watch, 1..20, begun), [3]);
    }

    #[test]
    fn deferred_losses_are_stated_without_a_new_one() {
        let begun = Instant::now();
        let mut watch = LossWatch::new(HostCounters::default(), false);
        watch.defer_to(begun + Duration::from_secs(5));
        assert_eq!(stated_in(&mut watch, 1..100, begun), [52]);
    }

    #[test]
    fn the_last_statement_waits_for_no_interval() {
        let begun = Instant::now();
        let mut watch = LossWatch::new(HostCounters::default(), true);
        assert_eq!(stated_in(&mut watch, 1..4, begun), [3]);
        watch.begin_last();
        assert!(!watch.is_last(), "there is nothing to state");
        watch.defer_to(begun + Duration::from_hours(1));
        watch.begin_last();
        assert!(watch.is_last());
        assert_eq!(stated_in(&mut watch, 4..9, begun), [6]);
        assert!(!watch.is_last());
    }
}
