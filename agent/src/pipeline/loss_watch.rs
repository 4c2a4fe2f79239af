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
}

/// Numbers that are lost if they are absent after some more looks.
#[derive(Debug)]
struct Suspects {
    produced: Vec<(Mark, SessionCounters)>,
    looks: u8,
}

impl LossWatch {
    pub(super) fn new(counters: HostCounters) -> Self {
        Self {
            counters,
            is_any_new: false,
            suspects: None,
            stated_at: None,
        }
    }

    /// Returns whether a look that begins now needs the counters of all sessions.
    pub(super) fn needs_all(&self, now: Instant) -> bool {
        let is_due = |at: Instant| now.duration_since(at) >= STATED_EVERY;
        self.is_any_new && self.suspects.is_none() && self.stated_at.is_none_or(is_due)
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
        let mut watch = LossWatch::new(HostCounters::default());
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
}
