//! Which clock is probably wrong when a host refuses a certificate.
//!
//! A host calls a certificate expired or not yet valid in its own log only. But the certificate shows Vault's clock,
//! and with that ours; what is left is the host's, and how far it may be out before it refuses the certificate.

use std::time::Duration;

use jiff::Timestamp;

use crate::render::time;

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

    /// Says how far the host's clock may be out.
    pub(crate) fn limits(&self, host: &str, now: Timestamp) -> String {
        let now = now.as_second();
        format!(
            "when the clock of `{host}` is more than {} behind or {} ahead of that of this machine, set that clock: \
             the certificate is not valid there",
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
