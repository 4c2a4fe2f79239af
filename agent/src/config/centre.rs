//! Settings for shipping: keys, their environment variables, and the resulting location of the
//! centre.

use std::path::PathBuf;

use vctl_common::centre::{DbSettings, Settings, VaultSettings};
use vctl_common::config::{Key, Span, put, text, text_or_none};
use vctl_common::host::{HostName, InvalidHostName};
use vctl_common::tls::Trust;

use super::Config;
use crate::centre::Centre;

/// Keys of the centre. Nothing is shipped unless both `vault_addr` and `db_host` are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CentreConfig {
    pub vault_addr: Option<String>,
    pub vault_namespace: Option<String>,
    pub vault_ca_cert: Option<PathBuf>,
    pub approle_mount: String,
    pub role_id_file: PathBuf,
    pub secret_id_file: PathBuf,
    pub database_mount: String,
    pub db_host: Option<String>,
    pub db_port: u16,
    pub db_name: String,
    pub db_server_name: Option<String>,
    pub db_ca_cert: Option<PathBuf>,
    pub spool_keep: Span,
}

#[derive(Debug, thiserror::Error)]
pub enum CentreError {
    #[error("no centre is configured: {} not set", .0.join(" and "))]
    NotSet(Vec<&'static str>),
    #[error("the name of this host is not valid in the inventory (key `host`)")]
    Host(#[from] InvalidHostName),
}

impl CentreConfig {
    /// Returns the settings of the centre for the host with this name in the inventory.
    ///
    /// # Errors
    /// A required key is not set, or the name is not valid in the inventory.
    pub fn centre(&self, host: &str) -> Result<Centre, CentreError> {
        let (Some(vault_addr), Some(db_host)) = (&self.vault_addr, &self.db_host) else {
            let keys = [
                ("`vault_addr`", self.vault_addr.is_none()),
                ("`db_host`", self.db_host.is_none()),
            ];
            let missing = keys.into_iter().filter(|(_, missing)| *missing);
            return Err(CentreError::NotSet(missing.map(|(key, _)| key).collect()));
        };
        let host: HostName = host.parse()?;
        Ok(Centre {
            settings: Settings {
                vault: VaultSettings {
                    namespace: self.vault_namespace.clone(),
                    trust: Trust::of_file(self.vault_ca_cert.clone()),
                    database_mount: self.database_mount.clone(),
                    ..VaultSettings::new(vault_addr)
                },
                db: DbSettings {
                    port: self.db_port,
                    name: self.db_name.clone(),
                    server_name: self.db_server_name.clone(),
                    trust: Trust::of_file(self.db_ca_cert.clone()),
                    application_name: format!("vctl-agent {host}"),
                    ..DbSettings::new(db_host)
                },
            },
            host,
            approle_mount: self.approle_mount.clone(),
            role_id_file: self.role_id_file.clone(),
            secret_id_file: self.secret_id_file.clone(),
        })
    }
}

/// Returns the environment variables that `vctl` reads as well.
pub(super) fn env(name: &str) -> Option<&'static str> {
    Some(match name {
        "vault_addr" => "VCTL_VAULT_ADDR",
        "vault_namespace" => "VCTL_VAULT_NAMESPACE",
        "vault_ca_cert" => "VCTL_VAULT_CA_CERT",
        "approle_mount" => "VCTL_APPROLE_MOUNT",
        "role_id_file" => "VCTL_ROLE_ID_FILE",
        "secret_id_file" => "VCTL_SECRET_ID_FILE",
        "database_mount" => "VCTL_DATABASE_MOUNT",
        "db_host" => "VCTL_DB_HOST",
        "db_port" => "VCTL_DB_PORT",
        "db_name" => "VCTL_DB_NAME",
        "db_server_name" => "VCTL_DB_SERVERNAME",
        "db_ca_cert" => "VCTL_DB_CA_CERT",
        _ => return None,
    })
}

pub(super) const SPOOL_KEEP: Key<Config> = Key {
    name: "spool_keep",
    kind: "time",
    default: "7d",
    doc: "How long closed, shipped sessions stay readable on this host. They go earlier only if \
          the spool needs room. Without a central store nothing goes before the cap.",
    switch: false,
    set: |config, raw| put(&mut config.centre.spool_keep, raw.one()),
    get: |config| text(&config.centre.spool_keep),
};

pub(super) const VAULT_ADDR: Key<Config> = Key {
    name: "vault_addr",
    kind: "`https://host:port`",
    default: "",
    doc: "Address of the Vault or OpenBao server. `collect` without `--local` needs it.",
    switch: false,
    set: |config, raw| put(&mut config.centre.vault_addr, raw.one().map(Some)),
    get: |config| text_or_none(config.centre.vault_addr.as_ref()),
};

pub(super) const VAULT_NAMESPACE: Key<Config> = Key {
    name: "vault_namespace",
    kind: "text",
    default: "",
    doc: "Namespace in Vault. Default: none.",
    switch: false,
    set: |config, raw| put(&mut config.centre.vault_namespace, raw.one().map(Some)),
    get: |config| text_or_none(config.centre.vault_namespace.as_ref()),
};

pub(super) const VAULT_CA_CERT: Key<Config> = Key {
    name: "vault_ca_cert",
    kind: "absolute path",
    default: "",
    doc: "PEM file with the only CAs to trust for Vault. Default: the CA that this agent was \
          built with, if any, and those of the system.",
    switch: false,
    set: |config, raw| {
        put(
            &mut config.centre.vault_ca_cert,
            raw.absolute_path().map(Some),
        )
    },
    get: |config| {
        text_or_none(
            config
                .centre
                .vault_ca_cert
                .as_ref()
                .map(|path| path.display()),
        )
    },
};

pub(super) const APPROLE_MOUNT: Key<Config> = Key {
    name: "approle_mount",
    kind: "text",
    default: "approle",
    doc: "Mount of Vault's AppRole method.",
    switch: false,
    set: |config, raw| put(&mut config.centre.approle_mount, raw.one()),
    get: |config| text(&config.centre.approle_mount),
};

pub(super) const ROLE_ID_FILE: Key<Config> = Key {
    name: "role_id_file",
    kind: "absolute path",
    default: "/etc/vctl/role_id",
    doc: "File with the role id of this host's AppRole, from `vctl host enroll`.",
    switch: false,
    set: |config, raw| put(&mut config.centre.role_id_file, raw.absolute_path()),
    get: |config| text(&config.centre.role_id_file.display()),
};

pub(super) const SECRET_ID_FILE: Key<Config> = Key {
    name: "secret_id_file",
    kind: "absolute path",
    default: "/etc/vctl/secret_id",
    doc: "File with the secret id of this host's AppRole, or with the wrapping token from `vctl \
          host enroll`. The agent unwraps the token once and stores the secret id in its place, \
          0600. It also replaces the secret id before it expires.",
    switch: false,
    set: |config, raw| put(&mut config.centre.secret_id_file, raw.absolute_path()),
    get: |config| text(&config.centre.secret_id_file.display()),
};

pub(super) const DATABASE_MOUNT: Key<Config> = Key {
    name: "database_mount",
    kind: "text",
    default: "database",
    doc: "Mount of Vault's database engine.",
    switch: false,
    set: |config, raw| put(&mut config.centre.database_mount, raw.one()),
    get: |config| text(&config.centre.database_mount),
};

pub(super) const DB_HOST: Key<Config> = Key {
    name: "db_host",
    kind: "host name or address",
    default: "",
    doc: "Host of the central Postgres. `collect` without `--local` needs it.",
    switch: false,
    set: |config, raw| put(&mut config.centre.db_host, raw.one().map(Some)),
    get: |config| text_or_none(config.centre.db_host.as_ref()),
};

pub(super) const DB_PORT: Key<Config> = Key {
    name: "db_port",
    kind: "port",
    default: "5432",
    doc: "Port of the central Postgres.",
    switch: false,
    set: |config, raw| put(&mut config.centre.db_port, raw.one()),
    get: |config| text(&config.centre.db_port),
};

pub(super) const DB_NAME: Key<Config> = Key {
    name: "db_name",
    kind: "text",
    default: "vctl",
    doc: "Database of the central Postgres.",
    switch: false,
    set: |config, raw| put(&mut config.centre.db_name, raw.one()),
    get: |config| text(&config.centre.db_name),
};

pub(super) const DB_SERVER_NAME: Key<Config> = Key {
    name: "db_server_name",
    kind: "host name",
    default: "",
    doc: "Name that the certificate of Postgres must have. Default: `db_host`.",
    switch: false,
    set: |config, raw| put(&mut config.centre.db_server_name, raw.one().map(Some)),
    get: |config| text_or_none(config.centre.db_server_name.as_ref()),
};

pub(super) const DB_CA_CERT: Key<Config> = Key {
    name: "db_ca_cert",
    kind: "absolute path",
    default: "",
    doc: "PEM file with the only CAs to trust for Postgres. Default: the CA that this agent was \
          built with, if any, and those of the system.",
    switch: false,
    set: |config, raw| put(&mut config.centre.db_ca_cert, raw.absolute_path().map(Some)),
    get: |config| text_or_none(config.centre.db_ca_cert.as_ref().map(|path| path.display())),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_to_ship_is_named() {
        let mut config = CentreConfig::default();
        let text = |config: &CentreConfig| config.centre("web-1").unwrap_err().to_string();
        assert_eq!(
            text(&config),
            "no centre is configured: `vault_addr` and `db_host` not set"
        );
        config.vault_addr = Some("https://vault.example.org:8200".to_owned());
        assert_eq!(text(&config), "no centre is configured: `db_host` not set");
        config.db_host = Some("db.example.org".to_owned());
        assert_eq!(config.centre("web-1").unwrap().host.as_str(), "web-1");
        assert!(config.centre("Web 1").is_err());
    }
}
