//! When to try again after a failed renewal.

use std::time::Duration;

use tokio::time::Instant;
use vctl_common::backoff::Backoff;

const FIRST: Duration = Duration::from_millis(250);
/// A server that is back is found within this.
const MOST: Duration = Duration::from_secs(3);

/// A [`Backoff`] whose pauses count from the beginning of the failed attempt.
#[derive(Debug)]
pub(super) struct Retry(Backoff);

impl Default for Retry {
    fn default() -> Self {
        Self(Backoff::new(FIRST, MOST))
    }
}

impl Retry {
    pub(super) fn is_failing(&self) -> bool {
        self.0.is_failing()
    }

    pub(super) fn reset(&mut self) {
        self.0.reset();
    }

    /// Returns the time of the next attempt, after one that began at `begun`. An attempt that took long counts as
    /// a part of the pause.
    pub(super) fn next_after(&mut self, begun: Instant) -> Instant {
        (begun + self.0.next_pause()).max(Instant::now() + FIRST / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_three_seconds_and_begin_anew() {
        let mut retry = Retry::default();
        let begun = Instant::now();
        for full in [250, 500, 1000, 2000, 3000, 3000, 3000] {
            let full = Duration::from_millis(full);
            let pause = retry.next_after(begun) - begun;
            assert!(
                pause >= full / 2 && pause <= full + FIRST,
                "{pause:?} {full:?}"
            );
        }
        retry.reset();
        assert!(retry.next_after(begun) - begun <= FIRST * 2);
    }

    #[test]
    fn a_try_that_took_long_is_followed_by_the_next_at_once() {
        let mut retry = Retry::default();
        let now = Instant::now();
        let begun = now.checked_sub(Duration::from_secs(10)).unwrap_or(now);
        for _ in 0..8 {
            assert!(retry.next_after(begun) <= Instant::now() + FIRST || begun == now);
        }
    }
}
