//! When a token is used as it is, when it is renewed, and when renewing no longer helps. The clock is
//! the caller's, and nothing is asked of anybody.
//!
//! This is the token that is cached on disk; `common/src/vault/renewal.rs` has that of a running process.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vctl_common::vault::{margin, renews_in_full};

/// How long a token lives, as far as the server said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// `None`: it never expires.
    pub(crate) expires: Option<Timestamp>,
    /// What it was given at login. What a renewal gives is compared with this.
    pub(crate) ttl_s: u64,
    /// Whether renewing helps.
    pub(crate) renewable: bool,
}

/// What has to be done before a token is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Use,
    Renew,
    /// Log in again: renewing gives nothing more, or it is over.
    Replace,
}

impl Life {
    /// A token that the server gave `ttl` when it was asked at `now`; none means for ever.
    pub(crate) fn granted(now: Timestamp, ttl: Option<Duration>, renewable: bool) -> Self {
        Self {
            // As far ahead as the calendar goes is for ever, too.
            expires: ttl.and_then(|ttl| now.checked_add(ttl).ok()),
            ttl_s: ttl.map_or(0, |ttl| ttl.as_secs()),
            renewable,
        }
    }

    /// Returns what it is after a renewal gave `ttl`.
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

    /// Returns how much of it is left; `None` for a token that never expires.
    pub(crate) fn left(&self, now: Timestamp) -> Option<Duration> {
        let left = self.expires?.duration_since(now);
        Some(Duration::try_from(left).unwrap_or_default())
    }

    /// Returns what is left of it while it is still used as it is.
    fn usable(&self, now: Timestamp) -> Option<Duration> {
        let margin = margin(Duration::from_secs(self.ttl_s));
        Some(self.left(now)?.saturating_sub(margin))
    }

    pub(crate) fn next(&self, now: Timestamp) -> Next {
        match self.usable(now) {
            Some(Duration::ZERO) if self.renewable && !self.is_over(now) => Next::Renew,
            Some(Duration::ZERO) => Next::Replace,
            Some(_) | None => Next::Use,
        }
    }

    /// Returns how long whoever keeps it alive may sleep: two thirds of what is left, and never past
    /// the moment from which it is not used any more. `None`: for ever.
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

    fn life(ttl: u64) -> Life {
        Life::granted(NOW, Some(Duration::from_secs(ttl)), true)
    }

    #[test]
    fn the_margin_is_a_minute_and_a_third_of_a_short_life() {
        for (ttl, last) in [
            (3600, 3539),
            (180, 119),
            (90, 59),
            (30, 19),
            (10, 6),
            (1, 0),
        ] {
            assert_eq!(life(ttl).next(after(last)), Next::Use, "{ttl}");
            assert_eq!(
                life(ttl).next(after(last + 1)),
                if ttl == 1 { Next::Replace } else { Next::Renew },
                "{ttl}"
            );
            assert_eq!(life(ttl).next(after(ttl)), Next::Replace, "{ttl}");
        }
    }

    #[test]
    fn a_token_that_never_expires_is_used_and_nobody_wakes_for_it() {
        let life = Life::granted(NOW, None, false);
        assert_eq!(life.next(after(1 << 33)), Next::Use);
        assert_eq!(life.rest(NOW), None);
    }

    #[test]
    fn when_renewals_begin_to_give_less_the_next_is_a_login() {
        let renewed = life(3600).renewed(after(3000), Some(Duration::from_hours(1)), true);
        assert_eq!(renewed.next(after(6541)), Next::Renew);
        let capped = renewed.renewed(after(6541), Some(Duration::from_mins(10)), true);
        assert_eq!(capped.next(after(6541)), Next::Use);
        assert_eq!(capped.next(after(6541 + 541)), Next::Replace);
    }

    proptest! {
        #[test]
        fn who_keeps_it_alive_wakes_before_it_is_no_longer_used(ttl in 0_u64..10_000_000, age in 0_u64..10_000_000) {
            let life = life(ttl);
            let rest = life.rest(after(age)).unwrap();
            prop_assert!(rest <= Duration::from_mins(30));
            if life.next(after(age)) == Next::Use {
                let wakes = after(age) + rest;
                prop_assert!(!life.is_over(wakes));
            } else {
                prop_assert_eq!(rest, Duration::ZERO);
            }
        }
    }
}
