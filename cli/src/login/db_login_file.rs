//! The file of a database login: its format, its name, and its owner.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vctl_common::centre::DbRole;
use vctl_common::pg::MOST_LOGINS;
use vctl_common::secret::Secret;

use crate::files::private_file::{self, ReadError};
use crate::files::state_dir::StateDir;
use crate::ui::notice;

/// Begin of the name of each file.
const FILE: &str = "db-login.";

/// Version of the format. Files of another version count as missing.
pub(super) const VERSION: u32 = 1;

/// The only place where a login is valid, and the token that it ends with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoginScope {
    pub(super) vault_addr: String,
    pub(super) vault_namespace: Option<String>,
    /// Accessor of the token.
    pub(super) accessor: String,
    /// Path of the role in Vault.
    pub(super) role: String,
    /// `host:port/database`
    pub(super) database: String,
}

impl LoginScope {
    /// Returns whether it is a place for the same token, and not the same place.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let token = |scope: &Self| {
            let Self {
                vault_addr,
                vault_namespace,
                accessor,
                ..
            } = scope.clone();
            (vault_addr, vault_namespace, accessor)
        };
        token(self) == token(other) && self != other
    }
}

/// The content of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredLogin {
    pub(super) version: u32,
    #[serde(flatten)]
    pub(super) scope: LoginScope,
    pub(super) username: String,
    #[serde(serialize_with = "private_file::exposed")]
    pub(super) password: Secret<String>,
    pub(super) lease_id: String,
    pub(super) created: Timestamp,
    pub(super) ttl_s: u64,
}

/// Removes the logins in this directory, except those of the token with this accessor.
pub(super) fn remove_all_but(state: &StateDir, accessor: Option<&str>) {
    let Ok(entries) = fs::read_dir(state.path()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(FILE)) {
            continue;
        }
        let path = entry.path();
        let is_kept = accessor.is_some_and(|accessor| {
            read_quietly(&path)
                .is_ok_and(|login| login.is_some_and(|login| login.scope.accessor == accessor))
        });
        if !is_kept {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Returns a stored login. Reports a file that vctl refuses.
pub(super) fn read(path: &Path) -> Option<StoredLogin> {
    match read_quietly(path) {
        Ok(login) => login,
        Err(error) => {
            notice::note_once(&format!(
                "cannot use the database login in `{}`: {error}",
                path.display()
            ));
            None
        }
    }
}

/// Returns a stored login, or `None` for a missing or damaged file.
fn read_quietly(path: &Path) -> Result<Option<StoredLogin>, ReadError> {
    match private_file::read(path) {
        Ok(text) => {
            let login: Option<StoredLogin> = serde_json::from_slice(text.expose()).ok();
            Ok(login.filter(|login| login.version == VERSION))
        }
        Err(ReadError::Absent) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the name of the lock for [`file_name`]. It stays when the login is removed.
pub(super) fn lock_name(role: &DbRole, number: usize) -> String {
    format!("db-login-lock.{role}.{}", number + 1)
}

pub(super) fn file_name(role: &DbRole, number: usize) -> String {
    debug_assert!(number < MOST_LOGINS);
    match number {
        0 => format!("{FILE}{role}"),
        number => format!("{FILE}{role}.{}", number + 1),
    }
}
