//! How long a connection that has nothing to do is kept. Pure: the clock is an argument.
//!
//! Kept, it saves a credential and a login for the next command somebody types. But it is a place that
//! another host may be waiting for.

use std::time::{Duration, Instant};

/// Between two commands of a person who works.
const USUAL: Duration = Duration::from_secs(30);
/// What was left over from the time before this agent started is shipped: others have started in the
/// same moment, as after an outage, and wait.
const FIRST: Duration = Duration::from_secs(1);
const CROWDED: Duration = Duration::from_millis(500);
/// A server that once had no place left is taken to be crowded for this long.
const REMEMBERED: Duration = Duration::from_mins(10);

/// What is known of how sought after connections are.
#[derive(Debug, Default)]
pub(super) struct IdleTime {
    was_given_back: bool,
    refused_at: Option<Instant>,
}

impl IdleTime {
    /// Returns how long to keep a quiet connection.
    pub(super) fn length(&self, now: Instant) -> Duration {
        let since_refused = self.refused_at.map(|at| now.saturating_duration_since(at));
        if since_refused.is_some_and(|since| since < REMEMBERED) {
            CROWDED
        } else if self.was_given_back {
            USUAL
        } else {
            FIRST
        }
    }

    /// The server had no place left.
    pub(super) fn refused(&mut self, now: Instant) {
        self.refused_at = Some(now);
    }

    pub(super) fn given_back(&mut self) {
        self.was_given_back = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_as_long_as_nobody_waits_for_it() {
        let now = Instant::now();
        let mut idle = IdleTime::default();
        assert_eq!(idle.length(now), FIRST);
        idle.given_back();
        assert_eq!(idle.length(now), USUAL);
        idle.refused(now);
        assert_eq!(idle.length(now + Duration::from_mins(9)), CROWDED);
        assert_eq!(idle.length(now + REMEMBERED), USUAL);
    }
}
