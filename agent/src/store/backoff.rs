//! How long to wait after a failure. Pure: chance is an argument.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Twice as long after each failure, from one second to [`MOST`].
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    /// What was last said about it.
    said: String,
}

const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_mins(1);

impl Backoff {
    /// Returns the wait after one more failure: between half of the step and all of it, so that a fleet
    /// that failed together does not come back together. `chance` is from 0 to 1.
    pub(super) fn next(&mut self, chance: f64) -> Duration {
        let step = LEAST * 2_u32.pow(self.failures.min(6));
        self.failures += 1;
        step.min(MOST).mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0))
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.said.clear();
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether this was not said already since the last success.
    pub(super) fn is_news(&mut self, text: &str) -> bool {
        let news = self.said != text;
        if news {
            text.clone_into(&mut self.said);
        }
        news
    }
}

/// From 0 to 1.
pub(super) fn chance() -> f64 {
    let bits = RandomState::new().hash_one(0_u8);
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.succeeded();
        assert_eq!(backoff.next(1.0), LEAST);
    }

    #[test]
    fn no_chance_makes_a_retry_without_a_wait() {
        for chance in [f64::MIN, 0.0, 0.3, 1.0, f64::MAX] {
            let wait = Backoff::default().next(chance);
            assert!((LEAST / 2..=LEAST).contains(&wait), "{chance}: {wait:?}");
        }
        assert!((0.0..=1.0).contains(&chance()));
    }
}
