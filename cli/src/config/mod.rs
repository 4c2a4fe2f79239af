//! Settings from the environment. Stands in for the key table until that is merged.

use std::env;
use std::path::PathBuf;

use vctl_common::centre::{DbSettings, Settings, VaultSettings};
use vctl_common::secret::Secret;

use crate::error::CliError;
use crate::exit_code::Exit;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Method {
    Oidc,
    Approle,
    Userpass,
    Token,
}

impl Method {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Oidc => "oidc",
            Self::Approle => "approle",
            Self::Userpass => "userpass",
            Self::Token => "token",
        }
    }

    pub(crate) fn is_a_persons(self) -> bool {
        self != Self::Approle
    }
}

pub(crate) struct Config {
    pub(crate) vault_addr: String,
    pub(crate) vault_ca_cert: Option<PathBuf>,
    pub(crate) vault_namespace: Option<String>,
    pub(crate) auth_method: Method,
    pub(crate) userpass_mount: String,
    pub(crate) username: Option<String>,
    pub(crate) approle_mount: String,
    pub(crate) approle_self_role: String,
    pub(crate) role_id: Option<Secret<String>>,
    pub(crate) secret_id: Option<Secret<String>>,
    pub(crate) role_id_file: Option<PathBuf>,
    pub(crate) secret_id_file: Option<PathBuf>,
    pub(crate) sink_path: Option<PathBuf>,
    pub(crate) db_host: String,
    pub(crate) db_port: u16,
    pub(crate) db_name: String,
    pub(crate) db_server_name: Option<String>,
    pub(crate) db_ca_cert: Option<PathBuf>,
    pub(crate) database_mount: String,
    pub(crate) ssh_mount: String,
    pub(crate) ca_role: String,
}

impl Config {
    pub(crate) fn settings(&self) -> Settings {
        let mut vault = VaultSettings::new(&self.vault_addr);
        vault.namespace.clone_from(&self.vault_namespace);
        vault.ca_cert.clone_from(&self.vault_ca_cert);
        vault.database_mount.clone_from(&self.database_mount);
        vault.ssh_mount.clone_from(&self.ssh_mount);
        let mut db = DbSettings::new(&self.db_host);
        db.port = self.db_port;
        db.name.clone_from(&self.db_name);
        db.server_name.clone_from(&self.db_server_name);
        db.ca_cert.clone_from(&self.db_ca_cert);
        Settings { vault, db }
    }
}

pub(crate) struct Loaded {
    pub(crate) config: Config,
}

impl Loaded {
    pub(crate) fn source_of(&self, _: &str) -> &'static str {
        "the environment"
    }

    pub(crate) fn is_from_directory(&self, _: &str) -> bool {
        false
    }
}

pub(crate) fn load() -> Result<Loaded, CliError> {
    let get = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let or = |name: &str, default: &str| get(name).unwrap_or_else(|| default.to_owned());
    let path = |name: &str| get(name).map(PathBuf::from);
    let port = or("VCTL_DB_PORT", "5432");
    let db_port = port.parse().map_err(|_| {
        let message = format!("`VCTL_DB_PORT` is `{port}`, which is no port");
        CliError::new(Exit::Config, message).hint("a port is a number from 1 to 65535")
    })?;
    let auth_method = match or("VCTL_AUTH_METHOD", "oidc").as_str() {
        "approle" => Method::Approle,
        "userpass" => Method::Userpass,
        "token" => Method::Token,
        _ => Method::Oidc,
    };
    Ok(Loaded {
        config: Config {
            vault_addr: get("VCTL_VAULT_ADDR")
                .unwrap_or_else(|| or("VAULT_ADDR", "https://vault.sre.local")),
            vault_ca_cert: path("VCTL_VAULT_CA_CERT"),
            vault_namespace: get("VCTL_VAULT_NAMESPACE"),
            auth_method,
            userpass_mount: or("VCTL_USERPASS_MOUNT", "userpass"),
            username: get("VCTL_USERNAME"),
            approle_mount: or("VCTL_APPROLE_MOUNT", "approle"),
            approle_self_role: or("VCTL_APPROLE_SELF_ROLE", "vctl-user"),
            role_id: get("VCTL_ROLE_ID").map(Secret::new),
            secret_id: get("VCTL_SECRET_ID").map(Secret::new),
            role_id_file: path("VCTL_ROLE_ID_FILE"),
            secret_id_file: path("VCTL_SECRET_ID_FILE"),
            sink_path: path("VCTL_SINK"),
            db_host: or("VCTL_DB_HOST", "db.sre.local"),
            db_port,
            db_name: or("VCTL_DB_NAME", "vctl"),
            db_server_name: get("VCTL_DB_SERVERNAME"),
            db_ca_cert: path("VCTL_DB_CA_CERT"),
            database_mount: or("VCTL_DATABASE_MOUNT", "database"),
            ssh_mount: or("VCTL_SSH_MOUNT", "ssh"),
            ca_role: or("VCTL_CA_ROLE", "sre-core"),
        },
    })
}
