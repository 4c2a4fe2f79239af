//! The last login method for each server, which the next login uses too.
//!
//! Contains no secrets. It survives a logout; `vctl logout --all` removes it.

use serde::{Deserialize, Serialize};

use super::cache::VaultScope;
use crate::config::Method;
use crate::files::private_file;
use crate::files::state_dir::StateDir;

pub(super) const FILE: &str = "last-login";

/// Maximum number of servers.
const MOST: usize = 32;

/// The last login at a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastLogin {
    #[serde(flatten)]
    pub(super) binding: VaultScope,
    method: String,
    /// Username for userpass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
}

impl LastLogin {
    pub(super) fn new(binding: VaultScope, method: Method, username: Option<String>) -> Self {
        Self {
            binding,
            method: method.to_string(),
            username,
        }
    }

    pub(super) fn method(&self) -> Option<Method> {
        self.method.parse().ok()
    }
}

/// Returns the last login at a server. A damaged file counts as missing.
pub(super) fn read(dir: &StateDir, binding: &VaultScope) -> Option<LastLogin> {
    let mut all = all(dir).into_iter();
    all.find(|login| login.binding == *binding)
}

/// Records a login. A failure is not an error of the login.
pub(super) fn record(dir: &StateDir, login: LastLogin) {
    let mut all = all(dir);
    all.retain(|other| other.binding != login.binding);
    all.insert(0, login);
    all.truncate(MOST);
    let written = private_file::replace(&dir.file(FILE), |out| {
        serde_json::to_writer_pretty(&mut *out, &all)?;
        out.write_all(b"\n")
    });
    if let Err(error) = written {
        tracing::debug!(%error, "The login method was not recorded.");
    }
}

fn all(dir: &StateDir) -> Vec<LastLogin> {
    let Ok(text) = private_file::read(&dir.file(FILE)) else {
        return Vec::new();
    };
    serde_json::from_slice(text.expose()).unwrap_or_default()
}
