//! Decides how long an idle connection stays open. No I/O; the clock is an argument.
//!
//! An open connection saves a credential and a login for the next command on this host. But another
//! host may be waiting for the place.

use std::time::{Duration, Instant};

/// Typical time between two commands of a user at work.
const USUAL: Duration = Duration::from_secs(30);
/// Used after the records from before this start are shipped: other agents started at the same
/// moment, as after an outage, and wait.
const FIRST: Duration = Duration::from_secs(1);
const CROWDED: Duration = Duration::from_millis(500);
/// After a refused connection, the server counts as full for this long.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Demand for connections, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct IdleTime {
    was_given_back: bool,
    refused_at: Option<Instant>,
}

impl IdleTime {
    /// Returns how long an idle connection stays open.
    pub(super) fn length(&self, now: Instant) -> Duration {
        if self.is_crowded(now) {
            CROWDED
        } else if self.was_given_back {
            USUAL
        } else {
            FIRST
        }
    }

    /// Returns whether the server had no free place lately.
    pub(super) fn is_crowded(&self, now: Instant) -> bool {
        let since_refused = self.refused_at.map(|at| now.saturating_duration_since(at));
        since_refused.is_some_and(|since| since < REMEMBERED)
    }

    /// Notes that the server had no free place.
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
    fn an_idle_connection_stays_open_while_places_are_free() {
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
