//! Diagnosis of a wrong clock when a host rejects a certificate.
//!
//! sshd reports an expired or not yet valid certificate only in its own log. The certificate shows Vault's clock, with
//! which ours is compared. If that is right, the host's clock may be wrong: the validity limits its difference.

use std::time::Duration;

use jiff::Timestamp;

use crate::ui::time;
use vctl_common::time::is_wrong_clock;

/// Difference in seconds below which clocks agree: Vault's certificates are valid from some time before signing.
const TOLERANCE: i64 = 60;

/// Validity of a certificate, and the time of signing by our clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) after: i64,
    pub(crate) before: i64,
    pub(crate) signed: i64,
    /// The requested lifetime, or that of the role.
    pub(crate) ttl: Duration,
    /// Seconds by which the host's clock was ahead of the database's when its agent last reported.
    pub(crate) host_ahead: Option<i64>,
}

impl Validity {
    /// Returns the error of our own clock, if it is wrong.
    pub(crate) fn own_fault(&self) -> Option<String> {
        let ttl = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        // Vault's time is the end minus the requested lifetime, unless the role shortened it.
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

    /// Describes how wrong the host's clock may be, or how wrong it is if that was measured.
    pub(crate) fn limits(&self, host: &str, now: Timestamp) -> String {
        if let Some(ahead) = self.host_ahead.filter(|&ahead| is_wrong_clock(ahead)) {
            return format!(
                "the clock of `{host}` was {} of the clock of Postgres when its agent last reported, so it is probably \
                 wrong and the certificate not valid there: set that clock",
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
            "if the clock of `{host}` is more than {} behind or {} ahead of that of this machine{ours}, the certificate \
             is not valid there: set that clock",
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

    /// A certificate for 30 minutes, signed when our clock showed `signed` and Vault's 1000.
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
    fn own_clock_is_compared_with_vaults() {
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
    fn shorter_lifetime_of_a_role_is_not_a_wrong_clock() {
        let shorter = Validity {
            before: 1300,
            ..signed_at(1001)
        };
        assert_eq!(shorter.own_fault(), None);
    }

    #[test]
    fn measured_clock_is_named_with_its_difference() {
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
    fn unmeasured_clock_is_described_by_limits() {
        let now = Timestamp::from_second(1005).unwrap();
        let limits = signed_at(1001).limits("web-1", now);
        assert!(
            limits.contains("clock of `web-1` is more than 35"),
            "{limits}"
        );
        assert!(limits.contains("29m"), "{limits}");
    }
}
