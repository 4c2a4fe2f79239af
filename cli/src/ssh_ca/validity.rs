//! Which clock is probably wrong when a host refuses a certificate.
//!
//! A host calls a certificate expired or not yet valid in its own log only. But the certificate shows Vault's clock,
//! and with that ours; what is left is the host's, and how far it may be out before it refuses the certificate.

use std::time::Duration;

use jiff::Timestamp;

use crate::ui::time;
use vctl_common::time::is_wrong_clock;

/// Clocks that differ by less agree: Vault signs from some time before its own clock on.
const TOLERANCE: i64 = 60;

/// When a certificate is valid, and when it was signed by our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) after: i64,
    pub(crate) before: i64,
    pub(crate) signed: i64,
    /// What was asked for.
    pub(crate) ttl: Duration,
    /// By how much the host's clock was ahead of the database's when its agent last reported.
    pub(crate) host_ahead: Option<i64>,
}

impl Validity {
    /// Says by how much our own clock is out, where it is.
    pub(crate) fn own_fault(&self) -> Option<String> {
        let ttl = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        // The end is Vault's clock and the time asked for, unless the role allows less.
        let vault = self.after.max(self.before.saturating_sub(ttl));
        let ahead = self.signed.saturating_sub(vault);
        if ahead.abs() < TOLERANCE {
            return None;
        }
        let direction = if ahead > 0 { "ahead of" } else { "behind" };
        Some(format!(
            "the clock of this machine is about {} {direction} that of Vault, which signed the certificate",
            seconds(ahead)
        ))
    }

    /// Says how far the host's clock may be out, and how far it is where that was measured.
    pub(crate) fn limits(&self, host: &str, now: Timestamp) -> String {
        if let Some(ahead) = self.host_ahead.filter(|&ahead| is_wrong_clock(ahead)) {
            return format!(
                "the clock of `{host}` was {} of the clock of Postgres when its agent last reported, so it is probably \
                 that clock that is wrong: set it, the certificate is not valid there",
                time::ahead(ahead)
            );
        }
        let now = now.as_second();
        let ours = if self.own_fault().is_none() {
            ", which agrees with Vault's"
        } else {
            ""
        };
        format!(
            "when the clock of `{host}` is more than {} behind or {} ahead of that of this machine{ours}, set that \
             clock: the certificate is not valid there",
            seconds(now - self.after),
            seconds(self.before - now)
        )
    }
}

fn seconds(seconds: i64) -> String {
    time::duration(Duration::from_secs(seconds.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signed for half an hour when our clock showed `signed`, and Vault's 1000.
    fn signed_at(signed: i64) -> Validity {
        Validity {
            after: 970,
            before: 2800,
            signed,
            ttl: Duration::from_mins(30),
            host_ahead: None,
        }
    }

    #[test]
    fn our_own_clock_is_judged_by_vaults() {
        assert_eq!(signed_at(1001).own_fault(), None);
        let ahead = signed_at(1000 + 86_400).own_fault().unwrap();
        assert!(
            ahead.contains("this machine is about 1d00h ahead of that of Vault"),
            "{ahead}"
        );
        let behind = signed_at(1000 - 600).own_fault().unwrap();
        assert!(behind.contains("about 10m"), "{behind}");
        assert!(behind.contains("behind that of Vault"), "{behind}");
    }

    #[test]
    fn a_role_that_allows_less_is_no_wrong_clock() {
        let shorter = Validity {
            before: 1300,
            ..signed_at(1001)
        };
        assert_eq!(shorter.own_fault(), None);
    }

    #[test]
    fn a_clock_that_was_measured_is_named_with_its_difference() {
        let now = Timestamp::from_second(1005).unwrap();
        for (ahead, said) in [
            (10_800, "3h00m ahead"),
            (-600, "10m00s behind"),
            (-31, "31s behind"),
        ] {
            let measured = Validity {
                host_ahead: Some(ahead),
                ..signed_at(1001)
            };
            let limits = measured.limits("web-1", now);
            assert!(
                limits.contains("clock of `web-1`") && limits.contains(said),
                "{limits}"
            );
        }
        let right = Validity {
            host_ahead: Some(-2),
            ..signed_at(1001)
        };
        assert_eq!(
            right.limits("web-1", now),
            signed_at(1001).limits("web-1", now)
        );
    }

    #[test]
    fn a_hosts_clock_has_limits() {
        let now = Timestamp::from_second(1005).unwrap();
        let limits = signed_at(1001).limits("web-1", now);
        assert!(
            limits.contains("clock of `web-1` is more than 35"),
            "{limits}"
        );
        assert!(limits.contains("29m"), "{limits}");
    }
}
