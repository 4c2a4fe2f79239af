//! The lifetime of a token: when to use it, renew it or replace it. Callers pass the time, and nothing here
//! connects to a server.
//!
//! This is the token that is cached on disk; `common/src/vault/renewal.rs` has that of a running process.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vctl_common::vault::{margin, renews_in_full};

/// The lifetime of a token, as the server reported it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenLifetime {
    /// `None`: the token never expires.
    pub(crate) expires: Option<Timestamp>,
    /// TTL at login, to compare with the TTL of a renewal.
    pub(crate) ttl_s: u64,
    /// Whether a renewal extends the lifetime.
    pub(crate) renewable: bool,
}

/// The step before a token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenAction {
    Use,
    Renew,
    /// Log in again: the token has expired, or cannot be renewed any more.
    Replace,
}

impl TokenLifetime {
    /// Returns the lifetime of a token with `ttl` from `now`; `None` means for ever.
    pub(crate) fn granted(now: Timestamp, ttl: Option<Duration>, renewable: bool) -> Self {
        Self {
            // A time after the end of the calendar also means for ever.
            expires: ttl.and_then(|ttl| now.checked_add(ttl).ok()),
            ttl_s: ttl.map_or(0, |ttl| ttl.as_secs()),
            renewable,
        }
    }

    /// Returns the lifetime after a renewal with `ttl`.
    pub(crate) fn renewed(&self, now: Timestamp, ttl: Option<Duration>, renewable: bool) -> Self {
        let full = Duration::from_secs(self.ttl_s);
        let lasts = ttl.is_none_or(|ttl| renews_in_full(ttl, full));
        Self {
            ttl_s: self.ttl_s,
            ..Self::granted(now, ttl, renewable && lasts)
        }
    }

    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Returns the remaining lifetime; `None` for a token that never expires.
    pub(crate) fn left(&self, now: Timestamp) -> Option<Duration> {
        let left = self.expires?.duration_since(now);
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Returns the remaining time in which the token may be used without renewal.
    fn usable(&self, now: Timestamp) -> Option<Duration> {
        let margin = margin(Duration::from_secs(self.ttl_s));
        Some(self.left(now)?.saturating_sub(margin))
    }

    pub(crate) fn next(&self, now: Timestamp) -> TokenAction {
        match self.usable(now) {
            Some(Duration::ZERO) if self.renewable && !self.is_over(now) => TokenAction::Renew,
            Some(Duration::ZERO) => TokenAction::Replace,
            Some(_) | None => TokenAction::Use,
        }
    }

    /// Returns the time until the next renewal: two thirds of the remaining lifetime, but not later than the end of
    /// its use. `None`: no renewal is needed.
    pub(crate) fn rest(&self, now: Timestamp) -> Option<Duration> {
        const LONGEST: Duration = Duration::from_mins(30);
        let usable = self.usable(now)?;
        Some((self.left(now)? * 2 / 3).min(usable).min(LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(seconds: u64) -> Timestamp {
        NOW + Duration::from_secs(seconds)
    }

    fn life(ttl: u64) -> TokenLifetime {
        TokenLifetime::granted(NOW, Some(Duration::from_secs(ttl)), true)
    }

    #[test]
    fn the_margin_is_a_minute_or_a_third_of_a_short_life() {
        for (ttl, last) in [
            (3600, 3539),
            (180, 119),
            (90, 59),
            (30, 19),
            (10, 6),
            (1, 0),
        ] {
            assert_eq!(life(ttl).next(after(last)), TokenAction::Use, "{ttl}");
            assert_eq!(
                life(ttl).next(after(last + 1)),
                if ttl == 1 {
                    TokenAction::Replace
                } else {
                    TokenAction::Renew
                },
                "{ttl}"
            );
            assert_eq!(life(ttl).next(after(ttl)), TokenAction::Replace, "{ttl}");
        }
    }

    #[test]
    fn a_token_that_never_expires_needs_no_renewal() {
        let life = TokenLifetime::granted(NOW, None, false);
        assert_eq!(life.next(after(1 << 33)), TokenAction::Use);
        assert_eq!(life.rest(NOW), None);
    }

    #[test]
    fn shorter_renewals_lead_to_a_new_login() {
        let renewed = life(3600).renewed(after(3000), Some(Duration::from_hours(1)), true);
        assert_eq!(renewed.next(after(6541)), TokenAction::Renew);
        let capped = renewed.renewed(after(6541), Some(Duration::from_mins(10)), true);
        assert_eq!(capped.next(after(6541)), TokenAction::Use);
        assert_eq!(capped.next(after(6541 + 541)), TokenAction::Replace);
    }

    proptest! {
        #[test]
        fn the_renewal_comes_before_the_end_of_use(ttl in 0_u64..10_000_000, age in 0_u64..10_000_000) {
            let life = life(ttl);
            let rest = life.rest(after(age)).unwrap();
            prop_assert!(rest <= Duration::from_mins(30));
            if life.next(after(age)) == TokenAction::Use {
                let wakes = after(age) + rest;
                prop_assert!(!life.is_over(wakes));
            } else {
                prop_assert_eq!(rest, Duration::ZERO);
            }
        }
    }
}
