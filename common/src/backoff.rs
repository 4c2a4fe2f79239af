//! Pauses after failures: they double up to a limit, and chance spreads them over the upper half of each step.
//!
//! `backon` (1.6) was examined. Its jitter is added to the step, so a pause may be twice as long as its limit, and
//! its iterator cannot begin anew after a success.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Each failure doubles the step, from `first` to `most`; a success begins anew.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// `most` also limits the first step.
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
        }
    }

    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and returns the pause before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        self.pause(random_fraction())
    }

    /// As [`Backoff::next_pause`]. `chance` from 0 to 1 chooses between half of the step and all of it: processes
    /// that lost the same server do not return at the same moment.
    fn pause(&mut self, chance: f64) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let step = self.first.saturating_mul(doubled).min(self.most);
        step.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }
}

/// A number from 0 to 1 for spreading load. Not for secrets: the standard library seeds it anew for each call, but
/// does not promise that it cannot be predicted.
pub fn random_fraction() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_mins(1);

    #[test]
    fn pauses_double_to_the_limit_and_restart_after_success() {
        let mut backoff = Backoff::new(FIRST, MOST);
        assert!(!backoff.is_failing());
        let pauses: Vec<_> = (0..9).map(|_| backoff.pause(1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(backoff.is_failing());
        backoff.reset();
        assert!(!backoff.is_failing());
        assert_eq!(backoff.pause(1.0), FIRST);
    }

    #[test]
    fn a_pause_is_in_the_upper_half_of_its_step() {
        for chance in [f64::MIN, 0.0, 0.3, 1.0, f64::MAX] {
            let pause = Backoff::new(FIRST, MOST).pause(chance);
            assert!((FIRST / 2..=FIRST).contains(&pause), "{chance}: {pause:?}");
        }
        let pause = Backoff::new(FIRST, MOST).next_pause();
        assert!((FIRST / 2..=FIRST).contains(&pause), "{pause:?}");
    }

    #[test]
    fn countless_failures_still_pause_for_the_limit() {
        let mut backoff = Backoff::new(FIRST, MOST);
        backoff.failures = u32::MAX;
        assert_eq!(backoff.pause(1.0), MOST);
        assert_eq!(backoff.pause(1.0), MOST);
    }

    #[test]
    fn the_limit_also_holds_for_the_first_pause() {
        let least = Duration::from_millis(100);
        assert_eq!(Backoff::new(FIRST, least).pause(1.0), least);
    }

    #[test]
    fn random_fractions_differ_and_stay_within_one() {
        let fractions: Vec<f64> = (0..8).map(|_| random_fraction()).collect();
        assert!(fractions.iter().all(|one| (0.0..=1.0).contains(one)));
        assert!(
            fractions
                .windows(2)
                .any(|two| two[0] < two[1] || two[1] < two[0])
        );
    }
}
