//! The identity for Vault, and its token.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::VaultError;
use super::renewal::RenewalState;
use crate::foreign_file;
use crate::secret::Secret;

/// Method of authentication.
#[derive(Clone, Debug)]
pub enum Auth {
    /// A token from another program or the user: used and renewed, but never revoked here.
    Token(Secret<String>),
    /// A machine: logs in by itself, again whenever needed.
    AppRole {
        mount: String,
        role_id: Secret<String>,
        secret_id: SecretIdSource,
    },
}

/// Source of an AppRole's secret id.
#[derive(Clone, Debug)]
pub enum SecretIdSource {
    Value(Secret<String>),
    /// Read at each login, so that a replaced file takes effect.
    File(PathBuf),
}

impl SecretIdSource {
    /// Returns the current secret id.
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

/// One token. Vault revokes everything made with it when it ends, so leases refer to it. This tells
/// them from leases of a later token.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) token: Secret<String>,
    /// Whether this program logged in for the token, and so may revoke it.
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

    /// Returns the session of a login. `asked` is the time of the request: the server counts from a
    /// later moment.
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
        // No code panics while the lock is held, and the value is complete after each statement.
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
