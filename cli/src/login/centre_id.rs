//! Identity of a centre, for files that hold its data on this machine.

use serde::{Deserialize, Serialize};
use vctl_common::centre::Settings;

use super::cache::VaultScope;

/// One database, with the logins of one Vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CentreId {
    #[serde(flatten)]
    pub(crate) vault: VaultScope,
    /// `host:port/name`
    pub(crate) database: String,
}

impl CentreId {
    pub(crate) fn of(settings: &Settings) -> Self {
        let vault = &settings.vault;
        Self {
            vault: VaultScope::new(&vault.addr, vault.namespace.as_deref()),
            database: settings.db.location(),
        }
    }
}
