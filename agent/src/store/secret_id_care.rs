//! Care for the secret id of a host that holds no connection to the central store.

use std::time::{Duration, Instant};

use tokio::time::timeout;
use tracing::debug;
use vctl_common::causes::WithCauses;
use vctl_common::status::Millis;
use vctl_common::time::wall_now;

use super::secret_id::Keeper;
use crate::centre::{Centre, enrolment};

/// Time between two logins at Vault.
const INTERVAL: Duration = Duration::from_hours(6);
/// The same after a failure.
const AGAIN: Duration = Duration::from_mins(10);
/// Most time that publishing waits for Vault.
const PATIENCE: Duration = Duration::from_secs(10);

/// Logs in at Vault from time to time and replaces the secret id before it expires.
pub(super) struct SecretIdCare {
    centre: Centre,
    next: Instant,
}

impl SecretIdCare {
    pub(super) fn new(centre: Centre) -> Self {
        Self {
            centre,
            next: Instant::now(),
        }
    }

    /// Returns when the secret id expires; `None` if it was not looked up now, or has no end.
    pub(super) async fn look(&mut self) -> Option<Millis> {
        if Instant::now() < self.next {
            return None;
        }
        let looked = timeout(PATIENCE, self.ask()).await;
        let failed = !matches!(looked, Ok(Ok(_)));
        self.next = Instant::now() + if failed { AGAIN } else { INTERVAL };
        match looked {
            Ok(Ok(at)) => at,
            Ok(Err(why)) => {
                debug!(why, "When the secret id expires is not known.");
                None
            }
            Err(_) => None,
        }
    }

    async fn ask(&self) -> Result<Option<Millis>, String> {
        let centre = &self.centre;
        let vault = centre
            .vault()
            .await
            .map_err(|error| WithCauses(&error).to_string())?;
        let enrolment = enrolment(&vault, &centre.host)
            .await
            .map_err(|error| WithCauses(&error).to_string())?;
        let mut keeper = Keeper::new(
            &centre.secret_id_file,
            &centre.approle_mount,
            enrolment.approle(),
        );
        let expiry = keeper.look(&vault, wall_now()).await;
        let _ = vault.revoke_self().await;
        Ok(expiry.map(|expiry| Millis::from_time(expiry.at)))
    }
}
