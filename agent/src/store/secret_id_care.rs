//! Care for the secret id of a host that holds no connection to the central store, also if it has nothing to ship.

use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout};
use tracing::debug;
use vctl_common::causes::WithCauses;
use vctl_common::status::Millis;
use vctl_common::time::wall_now;
use vctl_common::vault::Vault;

use super::secret_id::Keeper;
use crate::centre::{Centre, enrolment};

/// Time between two logins at Vault.
const INTERVAL: Duration = Duration::from_hours(6);
/// The same after a failure.
const AGAIN: Duration = Duration::from_mins(10);
/// Most time that publishing waits for Vault.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait for Vault to revoke a token that is no longer used.
const FAREWELL: Duration = Duration::from_secs(1);

/// Logs in at Vault from time to time and replaces the secret id before it expires.
pub(super) struct SecretIdCare {
    centre: Centre,
    next: Instant,
    /// A fleet that restarts must not log in at once, so a host with nothing to ship looks later than one that ships.
    quiet_until: Instant,
}

impl SecretIdCare {
    /// `quiet` is the time until the first look of a host with nothing to ship.
    pub(super) fn new(centre: Centre, quiet: Duration) -> Self {
        let now = Instant::now();
        Self {
            centre,
            next: now,
            quiet_until: now + quiet,
        }
    }

    /// Waits until a host with nothing to ship has to look. Loses nothing if it is dropped.
    pub(super) async fn due(&self) {
        sleep_until(self.next.max(self.quiet_until).into()).await;
    }

    /// Notes that the secret id was looked up over another connection.
    pub(super) fn looked(&mut self) {
        self.next = Instant::now() + INTERVAL;
    }

    /// Returns when the secret id expires; `None` if it was not looked up now, or has no end.
    pub(super) async fn look(&mut self) -> Option<Millis> {
        if Instant::now() < self.next {
            return None;
        }
        let looked = self.log_in_and_ask().await;
        self.next = Instant::now() + if looked.is_err() { AGAIN } else { INTERVAL };
        looked.unwrap_or_else(|why| {
            debug!(why, "When the secret id expires is not known.");
            None
        })
    }

    async fn log_in_and_ask(&self) -> Result<Option<Millis>, String> {
        let late = |_| format!("no answer within {} s", PATIENCE.as_secs());
        let vault = timeout(PATIENCE, self.centre.vault()).await;
        let vault = vault.map_err(late)?;
        let vault = vault.map_err(|error| WithCauses(&error).to_string())?;
        let asked = timeout(PATIENCE, self.ask(&vault)).await;
        // Also when its time is over: each attempt would leave a token behind.
        let _ = timeout(FAREWELL, vault.revoke_self()).await;
        asked.map_err(late)?
    }

    async fn ask(&self, vault: &Vault) -> Result<Option<Millis>, String> {
        let centre = &self.centre;
        let enrolment = enrolment(vault, &centre.host)
            .await
            .map_err(|error| WithCauses(&error).to_string())?;
        let mut keeper = Keeper::new(
            &centre.secret_id_file,
            &centre.approle_mount,
            enrolment.approle(),
        );
        let expiry = keeper.look(vault, wall_now()).await;
        Ok(expiry.map(|expiry| Millis::from_time(expiry.at)))
    }
}
