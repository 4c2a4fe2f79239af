//! The configuration: a table of keys, and the sources of their values.
//!
//! Flags override the environment, which overrides the files, which override the defaults.
//!
//! The framework is `vctl_common::config`, which also names the crates that were considered.

mod allowed_keys;
mod directory_file;
mod keys;
mod load;
mod method;
mod places;
mod problem;
mod rules;
mod trusted;
mod value;
#[cfg(test)]
mod tests;
pub(crate) mod globals;
pub(crate) mod text;

use std::path::PathBuf;

use vctl_common::centre::{DbSettings, RoleNames, Settings, VaultSettings};
use vctl_common::config::{Key, Span};
use vctl_common::secret::Secret;
use vctl_common::tls::Trust;

pub(crate) use load::{load, load_without_refused, placed};
pub(crate) use method::Method;
pub(crate) use problem::TRUST_HINT;
use rules::DcRule;
pub(crate) use trusted::{DirectoryFile, Setting, TrustState, TrustedFiles};

/// Returns the keys that have a command line option.
pub(crate) fn flags() -> impl Iterator<Item = &'static Key<Config>> {
    let keys = keys::TABLE.keys.iter();
    keys.filter(|key| (keys::TABLE.has_flag)(key.name))
}

/// Returns a template of a configuration file: all keys for files, commented out.
pub(crate) fn example() -> String {
    keys::TABLE.example(include_str!("example.head.yaml"))
}

/// Returns all environment variables of settings, with their descriptions.
pub(crate) fn environment() -> Vec<(String, String)> {
    let variables = keys::TABLE.keys.iter().map(|key| {
        let (first, _) = key.doc.split_once(". ").unwrap_or((key.doc, ""));
        (env_of(key.name).join(", "), first.to_owned())
    });
    variables.collect()
}

/// Returns the environment variables of a key, strongest first.
pub(crate) fn env_of(key: &str) -> Vec<String> {
    (keys::TABLE.env)(key)
}

/// The configuration, with the source of each value.
pub(crate) type Loaded = vctl_common::config::Loaded<Config>;

/// The configuration: one field for each key, with the same name. Paths are absolute.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) vault_addr: String,
    pub(crate) vault_namespace: Option<String>,
    pub(crate) vault_ca_cert: Option<PathBuf>,
    pub(crate) auth_method: Method,
    pub(crate) oidc_mount: String,
    pub(crate) oidc_role: String,
    pub(crate) oidc_callback_port: u16,
    pub(crate) userpass_mount: String,
    /// `None`: the user name on this machine.
    pub(crate) username: Option<String>,
    pub(crate) approle_mount: String,
    pub(crate) approle_self_role: String,
    pub(crate) role_id: Option<Secret<String>>,
    pub(crate) secret_id: Option<Secret<String>>,
    pub(crate) role_id_file: Option<PathBuf>,
    pub(crate) secret_id_file: Option<PathBuf>,
    /// `None`: `token-sink` in the state directory.
    pub(crate) sink_path: Option<PathBuf>,
    pub(crate) db_host: String,
    pub(crate) db_port: u16,
    pub(crate) db_name: String,
    pub(crate) db_server_name: Option<String>,
    pub(crate) db_ca_cert: Option<PathBuf>,
    pub(crate) db_role_ro: String,
    pub(crate) db_role_rw: String,
    pub(crate) db_role_identity: String,
    pub(crate) db_role_audit_ro: String,
    pub(crate) db_role_audit_write: String,
    pub(crate) db_role_audit_ingest: String,
    pub(crate) db_role_prune: String,
    pub(crate) db_role_status: String,
    pub(crate) db_role_session_end: String,
    pub(crate) db_role_revoke: String,
    pub(crate) db_role_migrate: String,
    pub(crate) db_migration_owner: String,
    pub(crate) database_mount: String,
    pub(crate) db_login_keep: Span,
    pub(crate) ssh_mount: String,
    pub(crate) ca_role: String,
    pub(crate) ssh_sign: Span,
    pub(crate) ssh_direct_first: bool,
    pub(crate) ssh_keepalive: Span,
    pub(crate) ssh_default_user: String,
    pub(crate) sync_probe_timeout: Span,
    pub(crate) sync_probe_concurrency: u16,
    pub(crate) dc_rules: Vec<DcRule>,
    /// Never 0.
    pub(crate) kernel_retention_days: u32,
    /// 0 for ever.
    pub(crate) session_retention_days: u32,
    /// 0 for ever.
    pub(crate) access_retention_days: u32,
}

/// Returns the addresses of Vault and Postgres, and the CAs to trust.
pub(crate) fn settings(loaded: &Loaded) -> Settings {
    loaded.config.settings()
}

impl Config {
    fn settings(&self) -> Settings {
        Settings {
            vault: VaultSettings {
                namespace: self.vault_namespace.clone(),
                trust: Trust::of_file(self.vault_ca_cert.clone()),
                database_mount: self.database_mount.clone(),
                ssh_mount: self.ssh_mount.clone(),
                roles: RoleNames {
                    ro: self.db_role_ro.clone(),
                    rw: self.db_role_rw.clone(),
                    identity: self.db_role_identity.clone(),
                    audit_ro: self.db_role_audit_ro.clone(),
                    audit_write: self.db_role_audit_write.clone(),
                    audit_ingest: self.db_role_audit_ingest.clone(),
                    prune: self.db_role_prune.clone(),
                    status: self.db_role_status.clone(),
                    session_end: self.db_role_session_end.clone(),
                    revoke: self.db_role_revoke.clone(),
                    migrate: self.db_role_migrate.clone(),
                    // Used by `vctl-agent ingest` alone.
                    ..RoleNames::default()
                },
                ..VaultSettings::new(&self.vault_addr)
            },
            db: DbSettings {
                port: self.db_port,
                name: self.db_name.clone(),
                server_name: self.db_server_name.clone(),
                trust: Trust::of_file(self.db_ca_cert.clone()),
                ..DbSettings::new(&self.db_host)
            },
        }
    }
}
