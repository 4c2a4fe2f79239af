//! How long to wait after a failure.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(250);
/// A server that is back is found within this.
const MOST: Duration = Duration::from_secs(3);

/// Doubles from try to try, each somewhere in its upper half: a thousand that lost the same server do
/// not come back in one moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    pub(super) fn is_first(&self) -> bool {
        self.failures == 0
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns when to try again after a try that began at `begun`. One that took long has waited
    /// already: the pause counts from its beginning.
    pub(super) fn next_after(&mut self, begun: Instant) -> Instant {
        let full = (FIRST * 2_u32.pow(self.failures.min(8))).min(MOST);
        self.failures = self.failures.saturating_add(1);
        let pause = full.mul_f64(0.5 + 0.5 * unit());
        (begun + pause).max(Instant::now() + FIRST / 2)
    }
}

/// A number from 0 to 1. Whether it can be foreseen does not matter.
fn unit() -> f64 {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    f64::from(u16::from_le_bytes([bytes[0], bytes[1]])) / f64::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_three_seconds_and_begin_anew() {
        let mut backoff = Backoff::default();
        let begun = Instant::now();
        for full in [250, 500, 1000, 2000, 3000, 3000, 3000] {
            let full = Duration::from_millis(full);
            let pause = backoff.next_after(begun) - begun;
            assert!(
                pause >= full / 2 && pause <= full + FIRST,
                "{pause:?} {full:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_after(begun) - begun <= FIRST * 2);
    }

    #[test]
    fn a_try_that_took_long_is_followed_by_the_next_at_once() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let begun = now.checked_sub(Duration::from_secs(10)).unwrap_or(now);
        for _ in 0..8 {
            assert!(backoff.next_after(begun) <= Instant::now() + FIRST || begun == now);
        }
    }
}
