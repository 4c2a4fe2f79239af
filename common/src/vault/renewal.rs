//! Decides when a token must be renewed, and when renewing no longer helps. The caller passes the
//! time.
//!
//! The token that vctl caches on disk is judged in `cli/src/login/life.rs`, by wall time and across processes. Both
//! use the two rules at the top of this file.

use std::time::{Duration, Instant};

/// A token from elsewhere is looked up only after this time: a command that ends within seconds
/// saves the round trip.
const UNKNOWN_FOR: Duration = Duration::from_mins(5);

/// Pause after a failed renewal.
const RETRY: Duration = Duration::from_secs(5);

/// Returns the time before its end at which a token is renewed or replaced.
pub fn margin(full: Duration) -> Duration {
    Duration::from_mins(1).min(full / 3)
}

/// Returns whether a renewal gave about as much as the login. Less means that the token approaches its `max_ttl`,
/// and each renewal would give less: a new login is due.
pub fn renews_in_full(ttl: Duration, full: Duration) -> bool {
    ttl >= full.mul_f64(0.9)
}

/// Lifetime of a token.
#[derive(Clone, Debug)]
pub(super) struct RenewalState {
    since: Instant,
    /// The first lifetime. Later ones are compared with it.
    full: Option<Duration>,
    /// `None` when it is not yet known, or the token never expires.
    expires: Option<Instant>,
    known: bool,
    renewable: bool,
    not_before: Option<Instant>,
}

/// Step that is needed before a token is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Ask the server for the token's lifetime.
    LookUp,
    Renew,
    /// The token is about to end, and renewing does not help.
    Replace,
}

impl RenewalState {
    /// Returns the lifetime of a token of which nothing is known.
    pub(super) fn unknown(now: Instant) -> Self {
        Self {
            since: now,
            full: None,
            expires: None,
            known: false,
            renewable: false,
            not_before: None,
        }
    }

    /// Returns the lifetime of a token that the server gave `ttl` at `now`; zero means that it
    /// never expires.
    pub(super) fn known(now: Instant, ttl: Duration, renewable: bool) -> Self {
        let mortal = !ttl.is_zero();
        Self {
            since: now,
            full: mortal.then_some(ttl),
            expires: mortal.then(|| end(now, ttl)),
            known: true,
            renewable,
            not_before: None,
        }
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub(super) fn due(&self, now: Instant) -> Due {
        if self.not_before.is_some_and(|t| now < t) && !self.is_over(now) {
            return Due::Nothing;
        }
        if !self.known {
            return if self.age(now) < UNKNOWN_FOR {
                Due::Nothing
            } else {
                Due::LookUp
            };
        }
        match (self.expires, self.full) {
            (Some(expires), Some(full))
                if expires.saturating_duration_since(now) <= margin(full) =>
            {
                if self.renewable && !self.is_over(now) {
                    Due::Renew
                } else {
                    Due::Replace
                }
            }
            _ => Due::Nothing,
        }
    }

    /// Stores the result of a renewal.
    pub(super) fn renewed(&mut self, now: Instant, ttl: Duration, renewable: bool) {
        let full = self.full.unwrap_or(ttl);
        self.not_before = None;
        self.expires = (!ttl.is_zero()).then(|| end(now, ttl));
        self.renewable = renewable && renews_in_full(ttl, full);
    }

    /// Stores the result of a lookup.
    pub(super) fn looked_up(&mut self, now: Instant, ttl: Duration, renewable: bool) {
        *self = Self {
            since: self.since,
            ..Self::known(now, ttl, renewable)
        };
    }

    /// Called when the server is unreachable: the token stays in use.
    pub(super) fn put_off(&mut self, now: Instant) {
        let left = self.expires.map(|e| e.saturating_duration_since(now));
        self.not_before = Some(now + left.map_or(RETRY, |left| RETRY.min(left / 4)));
    }
}

/// Returns the certain end of a token. Servers round to whole seconds, maybe up.
fn end(now: Instant, ttl: Duration) -> Instant {
    now + ttl.saturating_sub(Duration::from_secs(1).min(ttl / 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_is_renewed_a_minute_or_a_third_before_its_end() {
        let now = Instant::now();
        let hour = RenewalState::known(now, s(3600), true);
        assert_eq!(hour.due(now + s(3538)), Due::Nothing);
        assert_eq!(hour.due(now + s(3539)), Due::Renew);
        assert_eq!(hour.due(now + s(3600)), Due::Replace);
        let short = RenewalState::known(now, s(6), true);
        assert_eq!(short.due(now + s(2)), Due::Nothing);
        assert_eq!(short.due(now + s(3)), Due::Renew);
    }

    #[test]
    fn a_token_at_its_max_ttl_is_replaced_before_its_end() {
        let now = Instant::now();
        let mut life = RenewalState::known(now, s(60), true);
        life.renewed(now + s(45), s(60), true);
        assert_eq!(life.due(now + s(86)), Due::Renew);
        // 120 s is the max_ttl: 30 are left.
        life.renewed(now + s(90), s(30), true);
        assert_eq!(life.due(now + s(95)), Due::Nothing);
        assert_eq!(life.due(now + s(101)), Due::Replace);
        assert!(!life.is_over(now + s(101)));
    }

    #[test]
    fn a_token_ends_before_its_rounded_up_second() {
        let now = Instant::now();
        assert!(RenewalState::known(now, s(4), true).is_over(now + s(3)));
    }

    #[test]
    fn a_token_of_a_person_costs_no_request_in_a_short_command() {
        let now = Instant::now();
        let mut life = RenewalState::unknown(now);
        assert_eq!(life.due(now + s(299)), Due::Nothing);
        assert_eq!(life.due(now + s(301)), Due::LookUp);
        life.looked_up(now + s(301), s(600), true);
        assert_eq!(life.due(now + s(302)), Due::Nothing);
        assert_eq!(life.due(now + s(850)), Due::Renew);
    }

    #[test]
    fn an_outage_leaves_a_living_token_in_use() {
        let now = Instant::now();
        let mut life = RenewalState::known(now, s(60), true);
        life.put_off(now + s(41));
        assert_eq!(life.due(now + s(42)), Due::Nothing);
        assert_eq!(life.due(now + s(47)), Due::Renew);
        assert_eq!(life.due(now + s(61)), Due::Replace);
    }

    #[test]
    fn a_token_without_an_end_is_left_alone() {
        let now = Instant::now();
        assert_eq!(
            RenewalState::known(now, s(0), false).due(now + s(1_000_000)),
            Due::Nothing
        );
    }
}
