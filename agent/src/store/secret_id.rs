//! The secret id of this host's AppRole: replaced before it expires.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use vctl_common::causes::WithCauses;
use vctl_common::vault::secret_id::{keep, read};
use vctl_common::vault::{Vault, VaultError};

const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(7 * 24);

/// End and total lifetime of the secret id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub at: SystemTime,
    pub lives: Duration,
}

/// Renews the secret id of one AppRole.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    /// `auth/<mount>/role/<name>`.
    role: String,
    /// Not a wall time: a clock that was ahead for a moment must not move it.
    next_look: Option<Instant>,
    warned: Option<Duration>,
}

/// Returns the end of the secret id in a file; `None` for one that never expires. `role` is `auth/<mount>/role/<name>`.
///
/// # Errors
/// The file cannot be read, or Vault does not answer.
pub(crate) async fn secret_id_expiry(
    vault: &Vault,
    file: &Path,
    role: &str,
) -> Result<Option<Expiry>, String> {
    let secret_id = read(file).map_err(|error| error.to_string())?;
    let path = format!("{role}/secret-id/lookup");
    let data = vault
        .write(&path, &json!({ "secret_id": secret_id.expose() }))
        .await
        .map_err(|error| error.to_string())?;
    let lives = Duration::from_secs(data["secret_id_ttl"].as_u64().unwrap_or(0));
    let at = data["expiration_time"]
        .as_str()
        .and_then(|text| text.parse::<jiff::Timestamp>().ok());
    Ok(at.filter(|_| !lives.is_zero()).map(|at| Expiry {
        at: at.into(),
        lives,
    }))
}

/// Pause between two checks of the expiry.
const LOOK: Duration = Duration::from_hours(6);

impl Keeper {
    pub(super) fn new(path: &Path, mount: &str, role: &str) -> Self {
        Self {
            path: path.to_owned(),
            role: format!("auth/{mount}/role/{role}"),
            next_look: None,
            warned: None,
        }
    }

    /// Checks when the secret id expires, replaces it after two thirds of its time, and warns if
    /// that fails. `now` is compared with the time of Vault. Asks Vault only from time to time; `None` when it did not
    /// ask.
    pub(super) async fn look(&mut self, vault: &Vault, now: SystemTime) -> Option<Expiry> {
        let looked = Instant::now();
        if self.next_look.is_some_and(|next| looked < next) {
            return None;
        }
        self.next_look = Some(looked + LOOK);
        match self.expiry(vault).await {
            Ok(Some(expiry)) => Some(self.renew(vault, expiry, now).await),
            Ok(None) => None,
            Err(error) => {
                debug!(%error, "When the secret id expires is not known.");
                None
            }
        }
    }

    async fn renew(&mut self, vault: &Vault, expiry: Expiry, now: SystemTime) -> Expiry {
        let left = expiry.at.duration_since(now).unwrap_or_default();
        if left > expiry.lives / 3 {
            self.warned = None;
            return expiry;
        }
        let why = match self.rotate(vault).await {
            Ok(()) => {
                info!("Replaced the secret id of this host.");
                self.warned = None;
                return match self.expiry(vault).await {
                    Ok(Some(next)) => next,
                    _ => expiry,
                };
            }
            Err(why) => why,
        };
        let mark = [DAY, WEEK].into_iter().find(|mark| left <= *mark);
        if mark.is_some() && mark != self.warned {
            self.warned = mark;
            warn!(
                hours_left = left.as_secs() / 3600,
                error = why,
                "The secret id of this host is about to expire, and cannot be replaced from here: \
                 `vctl host enroll HOST` makes a new one."
            );
        }
        expiry
    }

    async fn expiry(&self, vault: &Vault) -> Result<Option<Expiry>, String> {
        secret_id_expiry(vault, &self.path, &self.role).await
    }

    async fn rotate(&self, vault: &Vault) -> Result<(), String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let old = read(&self.path).map_err(|error| text(&error))?;
        let path = format!("{}/secret-id", self.role);
        let made = vault.write(&path, &json!({})).await;
        let made = made.map_err(|error| text(&error))?;
        let new = made["secret_id"]
            .as_str()
            .ok_or("no secret id in the answer")?;
        if let Err(error) = keep(&self.path, new) {
            // A secret id that is not stored must not stay valid.
            let _ = self.destroy(vault, new).await;
            return Err(text(&error));
        }
        if let Err(error) = self.destroy(vault, old.expose()).await {
            debug!(error = %WithCauses(&error), "The old secret id lives until it expires.");
        }
        Ok(())
    }

    async fn destroy(&self, vault: &Vault, secret_id: &str) -> Result<(), VaultError> {
        let path = format!("{}/secret-id/destroy", self.role);
        let body = json!({ "secret_id": secret_id });
        vault.write(&path, &body).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use vctl_common::centre::VaultSettings;
    use vctl_common::secret::Secret;
    use vctl_common::vault::Auth;

    use super::*;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_clock_that_was_ahead_stops_no_look() {
        let settings = VaultSettings::new("https://localhost:1");
        let auth = Auth::Token(Secret::new("t".to_owned()));
        let vault = Vault::connect(&settings, auth).unwrap();
        // Without the file no look asks Vault.
        let mut keeper = Keeper::new(Path::new("/nowhere/secret_id"), "approle", "vctl-web-1");
        let now = SystemTime::UNIX_EPOCH + 1000 * DAY;
        keeper.look(&vault, now + 400 * DAY).await;
        let first = keeper.next_look;
        keeper.look(&vault, now).await;
        assert_eq!(keeper.next_look, first, "at most one look in a time");
        tokio::time::advance(LOOK).await;
        keeper.look(&vault, now + LOOK).await;
        assert_ne!(keeper.next_look, first);
    }
}
