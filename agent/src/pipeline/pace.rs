//! The times of the next look at the ring and of the next housekeeping.

use std::time::Duration;

use tokio::time::Instant;

/// Interval between two looks at the ring while a session is busy.
const BUSY: Duration = Duration::from_millis(25);
/// The same after some quiet seconds: tokio wakes twice for a sleep of this length.
const IDLE: Duration = Duration::from_millis(1500);
/// The same after a look that had to stop: in between, logins and requests have their turn.
const TURN: Duration = Duration::from_millis(5);
/// A look at the ring that is late by this much comes before all logins and requests that wait.
const OVERDUE: Duration = Duration::from_millis(250);
/// Housekeeping rests for so many times as long as it took: files of late logins start it as often as they come.
const REST: u32 = 4;
/// At most this long, because the watchdog waits for housekeeping.
const REST_MAX: Duration = Duration::from_secs(5);

/// The time of the next look at the ring.
pub(super) struct Pace {
    interval: Duration,
    pub(super) next: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            interval: BUSY,
            next: Instant::now(),
        }
    }

    pub(super) fn wake(&mut self) {
        self.interval = BUSY;
        self.next = self.next.min(Instant::now() + BUSY);
    }

    /// Waits a quarter longer after each look that finds nothing: half a second after two quiet seconds, the full
    /// interval after six.
    pub(super) fn drained(&mut self, is_busy: bool, is_cut_short: bool) {
        self.interval = if is_busy {
            BUSY
        } else {
            (self.interval.mul_f32(1.25)).min(IDLE)
        };
        let wait = if is_cut_short { TURN } else { self.interval };
        self.next = Instant::now() + wait;
    }
}

/// Returns when a look, due at `next`, may wait no longer.
pub(super) fn overdue(next: Instant) -> Instant {
    next + OVERDUE
}

/// The time of the next housekeeping.
pub(super) struct Chores {
    next: Instant,
    not_before: Instant,
}

impl Chores {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: now,
            not_before: now,
        }
    }

    pub(super) fn next(&self) -> Instant {
        self.next.max(self.not_before)
    }

    /// Moves the next time forward to `at`.
    pub(super) fn by(&mut self, at: Instant) {
        self.next = self.next.min(at);
    }

    /// Notes that housekeeping ran from `begun` to `now`, and is due again at `next`.
    pub(super) fn done(&mut self, begun: Instant, now: Instant, next: Instant) {
        self.not_before = now + ((now - begun) * REST).min(REST_MAX);
        self.next = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_was_cut_short_goes_on_at_once() {
        let mut pace = Pace::new();
        pace.drained(true, true);
        assert!(pace.next <= Instant::now() + TURN);
        pace.drained(true, false);
        assert!(pace.next > Instant::now() + TURN);
    }

    #[test]
    fn late_logins_take_at_most_a_fifth_of_the_time() {
        let begun = Instant::now();
        let mut chores = Chores::new(begun);
        let now = begun + Duration::from_millis(100);
        chores.done(begun, now, now + Duration::from_secs(5));
        chores.by(now);
        assert_eq!(chores.next(), now + Duration::from_millis(400));
        // The watchdog does not wait for a long rest.
        let now = begun + Duration::from_secs(10);
        chores.done(begun, now, now);
        assert_eq!(chores.next(), now + REST_MAX);
    }
}
