//! Settings for shipping: keys, their environment variables, and the resulting location of the
//! centre.

use std::path::PathBuf;

use vctl_common::centre::{DbSettings, Settings, VaultSettings};
use vctl_common::config::Span;
use vctl_common::count::form;
use vctl_common::host::{HostName, InvalidHostName};
use vctl_common::tls::Trust;

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
    #[error("Vault and Postgres are not both configured: {} {} not set", .0.join(" and "), form(.0.len(), "is", "are"))]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_to_ship_is_named() {
        let mut config = CentreConfig::default();
        let text = |config: &CentreConfig| config.centre("web-1").unwrap_err().to_string();
        assert_eq!(
            text(&config),
            "Vault and Postgres are not both configured: `vault_addr` and `db_host` are not set"
        );
        config.vault_addr = Some("https://vault.example.org:8200".to_owned());
        assert_eq!(
            text(&config),
            "Vault and Postgres are not both configured: `db_host` is not set"
        );
        config.db_host = Some("db.example.org".to_owned());
        assert_eq!(config.centre("web-1").unwrap().host.as_str(), "web-1");
        assert!(config.centre("Web 1").is_err());
    }
}
