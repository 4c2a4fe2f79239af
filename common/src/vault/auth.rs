//! As whom we come to Vault, and the token that we got for it.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::VaultError;
use super::renewal::RenewalState;
use crate::foreign_file;
use crate::secret::Secret;

/// How to become somebody to Vault.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A token somebody else got: used and renewed, never revoked by us.
    Token(Secret<String>),
    /// A machine: logs in by itself, again whenever it has to.
    AppRole {
        mount: String,
        role_id: Secret<String>,
        secret_id: SecretIdSource,
    },
}

/// Where the secret half of an AppRole is.
#[derive(Clone, Debug)]
pub enum SecretIdSource {
    Value(Secret<String>),
    /// Read at each login, so that one that was replaced on disk is used from then on.
    File(PathBuf),
}

impl SecretIdSource {
    /// Returns the secret id as it is now.
    pub fn read(&self) -> Result<Secret<String>, VaultError> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => {
                let line = foreign_file::read_line(path);
                line.map(Secret::new)
                    .map_err(|source| VaultError::SecretId {
                        path: path.clone(),
                        source,
                    })
            }
        }
    }
}

/// One token. What was made with it is revoked by Vault when it ends, so everything made with it
/// holds on to it, to be told apart from what the next one made.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) token: Secret<String>,
    /// Whether we logged in for it, and so may end it.
    pub(super) ours: bool,
    life: Mutex<RenewalState>,
}

impl Session {
    pub(super) fn given(token: Secret<String>) -> Self {
        Self {
            token,
            ours: false,
            life: Mutex::new(RenewalState::unknown(Instant::now())),
        }
    }

    /// `asked` is when the login was sent: the server counts from some time after that.
    pub(super) fn logged_in(
        token: Secret<String>,
        asked: Instant,
        ttl: Duration,
        renewable: bool,
    ) -> Self {
        Self {
            token,
            ours: true,
            life: Mutex::new(RenewalState::known(asked, ttl, renewable)),
        }
    }

    pub(super) fn life(&self) -> MutexGuard<'_, RenewalState> {
        // Nothing panics while it is held; and what is in it is whole after each statement.
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
