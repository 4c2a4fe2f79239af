//! How a person last logged in to each server: the next login goes the same way.
//!
//! No secret is kept here. It outlives a logout, and `vctl logout --all` removes it.

use serde::{Deserialize, Serialize};

use super::cache::Binding;
use crate::config::Method;
use crate::files::private_file;
use crate::files::state_dir::StateDir;

pub(super) const FILE: &str = "last-login";

/// Servers of which the last login is kept.
const MOST: usize = 32;

/// One login.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LastLogin {
    #[serde(flatten)]
    pub(super) binding: Binding,
    method: String,
    /// Name that was given for userpass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<String>,
}

impl LastLogin {
    pub(super) fn new(binding: Binding, method: Method, username: Option<String>) -> Self {
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

/// Returns the last login at a server, if one is known. A file that makes no sense counts as none.
pub(super) fn read(dir: &StateDir, binding: &Binding) -> Option<LastLogin> {
    let mut all = all(dir).into_iter();
    all.find(|login| login.binding == *binding)
}

/// Writes down a login. A login is one also where this fails.
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
        tracing::debug!(%error, "The way of this login is not kept.");
    }
}

fn all(dir: &StateDir) -> Vec<LastLogin> {
    let Ok(text) = private_file::read(&dir.file(FILE)) else {
        return Vec::new();
    };
    serde_json::from_slice(text.expose()).unwrap_or_default()
}
