//! The end of the consumer's secret id, which only an administrator can replace.

use std::time::Duration;

use tracing::{debug, warn};
use vctl_common::time::wall_now;
use vctl_common::vault::Vault;

use crate::centre::Centre;
use crate::store::secret_id_expiry;

/// The consumer's `AppRole`.
const ROLE: &str = "vctl-stream-ingest";
const WEEK: Duration = Duration::from_hours(7 * 24);

/// Warns of the end of the secret id.
pub(super) async fn warn_before_the_end(vault: &Vault, centre: &Centre) {
    let role = format!("auth/{}/role/{ROLE}", centre.approle_mount);
    match secret_id_expiry(vault, &centre.secret_id_file, &role).await {
        Ok(Some(expiry)) => {
            let left = expiry.at.duration_since(wall_now()).unwrap_or_default();
            if is_near(left, expiry.lives) {
                warn!(
                    hours_left = left.as_secs() / 3600,
                    file = %centre.secret_id_file.display(),
                    next = "write a new one to the file: deploy/nats/README.md, step 5; no restart is needed",
                    "The secret id of this consumer is about to expire."
                );
            }
        }
        Ok(None) => {}
        Err(error) => debug!(error, "When the secret id expires is not known."),
    }
}

/// A short lifetime must not be a warning from its first day.
fn is_near(left: Duration, lives: Duration) -> bool {
    left <= WEEK.min(lives / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_begins_a_week_before_the_end() {
        let days = |n: u64| Duration::from_hours(24 * n);
        for (left, lives, near) in [
            (30, 30, false),
            (8, 30, false),
            (7, 30, true),
            (0, 30, true),
        ] {
            assert_eq!(is_near(days(left), days(lives)), near, "{left} of {lives}");
        }
        assert!(!is_near(days(3), days(3)));
        assert!(is_near(days(1), days(3)));
    }
}
