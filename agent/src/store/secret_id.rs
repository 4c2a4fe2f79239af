//! The secret half of this host's AppRole: opened once, kept to root, replaced before it expires.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tracing::{debug, info, warn};
use uuid::Uuid;
use vctl_common::centre::VaultSettings;
use vctl_common::secret::Secret;
use vctl_common::vault::{Vault, VaultError};

const DAY: Duration = Duration::from_hours(24);
const WEEK: Duration = Duration::from_hours(7 * 24);

#[derive(Debug, thiserror::Error)]
pub enum SecretIdError {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open the wrapped secret id in `{}`", path.display())]
    Unwrap {
        path: PathBuf,
        #[source]
        source: VaultError,
    },
    #[error("Vault's answer has no secret id")]
    Answer,
}

/// Opens a wrapped secret id, when that is what the file holds, and keeps what was in it there.
///
/// Two agents of one host may come at once: the second finds it opened.
///
/// # Errors
/// `Unwrap` with `WrapInvalid` when somebody else has opened it: then somebody else may be this host.
pub async fn open_wrapped(settings: &VaultSettings, path: &Path) -> Result<(), SecretIdError> {
    if !is_wrapped(&read(path)?) {
        return Ok(());
    }
    let _lock = lock(path)?;
    let token = read(path)?;
    if !is_wrapped(&token) {
        return Ok(());
    }
    let unwrapped = Vault::unwrap(settings, &token).await;
    let data = unwrapped.map_err(|source| SecretIdError::Unwrap {
        path: path.to_owned(),
        source,
    })?;
    let secret_id = data["secret_id"].as_str().ok_or(SecretIdError::Answer)?;
    keep(path, secret_id)?;
    info!(path = %path.display(), "Opened the wrapped secret id of this host.");
    Ok(())
}

/// A secret id is a UUID, unless somebody chose another; a wrapping token has a type in front.
fn is_wrapped(secret: &Secret<String>) -> bool {
    let text = secret.expose();
    ["hvs.", "s.", "hvb.", "b."]
        .iter()
        .any(|prefix| text.starts_with(prefix))
        && Uuid::try_parse(text).is_err()
}

fn read(path: &Path) -> Result<Secret<String>, SecretIdError> {
    let text = fs::read_to_string(path).map_err(|source| SecretIdError::Read {
        path: path.to_owned(),
        source,
    })?;
    let text = Secret::new(text);
    Ok(Secret::new(text.expose().trim().to_owned()))
}

/// Waits for another agent that is just about to do the same.
fn lock(path: &Path) -> Result<File, SecretIdError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let lock = || {
        let dir = File::open(dir)?;
        dir.lock()?;
        Ok(dir)
    };
    lock().map_err(|source| SecretIdError::Read {
        path: dir.to_owned(),
        source,
    })
}

/// Replaces the file: a reader finds the old secret id or the new one.
fn keep(path: &Path, secret_id: &str) -> Result<(), SecretIdError> {
    let new = path.with_extension("new");
    let write = || {
        // Left by somebody who was stopped in between.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        writeln!(file, "{secret_id}")?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|source| SecretIdError::Write {
        path: path.to_owned(),
        source,
    })
}

/// When the secret id ends, and how long it lives in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry {
    pub at: SystemTime,
    pub lives: Duration,
}

/// Looks after the secret id of one AppRole.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    /// `auth/<mount>/role/<name>`.
    role: String,
    next_look: Option<SystemTime>,
    warned: Option<Duration>,
}

/// How often the expiry is asked for.
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

    /// Finds out when the secret id expires, replaces it when two thirds of its time are over, and
    /// warns when that cannot be. Asks Vault only now and then; `None` when it was not asked.
    pub(super) async fn look(&mut self, vault: &Vault, now: SystemTime) -> Option<Expiry> {
        if self.next_look.is_some_and(|next| now < next) {
            return None;
        }
        self.next_look = Some(now + LOOK);
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

    /// `None` for one that never expires.
    async fn expiry(&self, vault: &Vault) -> Result<Option<Expiry>, String> {
        let secret_id = read(&self.path).map_err(|error| error.to_string())?;
        let path = format!("{}/secret-id/lookup", self.role);
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
            // Kept nowhere, it is only one more that somebody could use.
            let _ = self.destroy(vault, new).await;
            return Err(text(&error));
        }
        if let Err(error) = self.destroy(vault, old.expose()).await {
            debug!(%error, "The old secret id lives until it expires.");
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
    use super::*;

    #[test]
    fn a_wrapping_token_is_told_from_a_secret_id() {
        for (text, wrapped) in [
            ("hvs.CAESIJ", true),
            ("s.2ZeqHGlLRmqsTQcXSkMn", true),
            ("84896a0c-1347-aa90-a4f6-aca8b7558780", false),
            ("chosen-by-hand", false),
        ] {
            assert_eq!(is_wrapped(&Secret::new(text.to_owned())), wrapped, "{text}");
        }
    }

    #[test]
    fn a_kept_secret_id_is_roots_alone_and_replaces_the_file_whole() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret_id");
        fs::write(&path, "hvs.wrapped").unwrap();
        fs::write(path.with_extension("new"), "left over").unwrap();
        keep(&path, "84896a0c").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "84896a0c\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
