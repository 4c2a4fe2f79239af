//! Where the centre is, and as whom this host goes there: the keys it shares with `vctl`.

use std::fs;
use std::io;
use std::path::PathBuf;

use vctl_common::centre::{DbSettings, Settings, VaultSettings};
use vctl_common::secret::Secret;
use vctl_common::vault::{Auth, SecretIdSource};

use super::keys::{Key, Shown, put, text};

/// Where the centre is. Nothing of it is needed by an agent that keeps its records to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Centre {
    pub vault_addr: Option<String>,
    pub vault_namespace: Option<String>,
    pub vault_ca_cert: Option<PathBuf>,
    pub database_mount: String,
    pub approle_mount: String,
    pub role_id_file: PathBuf,
    pub secret_id_file: PathBuf,
    pub db_host: Option<String>,
    pub db_port: u16,
    pub db_name: String,
    pub db_servername: Option<String>,
    pub db_ca_cert: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum CentreError {
    #[error("`{key}` is not set")]
    Missing { key: &'static str },
    #[error("cannot read the role id `{}`", path.display())]
    RoleId {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl CentreError {
    pub fn hint(&self) -> String {
        match self {
            Self::Missing { key } => format!(
                "set `{key}` in the agent's file, or `VCTL_{}`",
                key.to_ascii_uppercase()
            ),
            Self::RoleId { .. } => "enrol this host: `vctl host enroll HOST`".to_owned(),
        }
    }
}

impl Centre {
    /// Says whether there is a centre at all.
    pub fn is_set(&self) -> bool {
        self.vault_addr.is_some() || self.db_host.is_some()
    }

    /// Returns where Vault and Postgres are.
    pub fn settings(&self) -> Result<Settings, CentreError> {
        let set = |value: &Option<String>, key| value.clone().ok_or(CentreError::Missing { key });
        let mut vault = VaultSettings::new(set(&self.vault_addr, "vault_addr")?);
        vault.namespace.clone_from(&self.vault_namespace);
        vault.ca_cert.clone_from(&self.vault_ca_cert);
        vault.database_mount.clone_from(&self.database_mount);
        let mut db = DbSettings::new(set(&self.db_host, "db_host")?);
        db.port = self.db_port;
        db.name.clone_from(&self.db_name);
        db.server_name.clone_from(&self.db_servername);
        db.ca_cert.clone_from(&self.db_ca_cert);
        "vctl-agent".clone_into(&mut db.application_name);
        Ok(Settings { vault, db })
    }

    /// Returns the host's own identity. The secret id is read at each login, so that a new one is used
    /// without a restart.
    pub fn auth(&self) -> Result<Auth, CentreError> {
        let role_id = fs::read_to_string(&self.role_id_file).map_err(|source| {
            let path = self.role_id_file.clone();
            CentreError::RoleId { path, source }
        })?;
        Ok(Auth::AppRole {
            mount: self.approle_mount.clone(),
            role_id: Secret::new(role_id.trim().to_owned()),
            secret_id: SecretIdSource::File(self.secret_id_file.clone()),
        })
    }
}

/// Says whether a key is one that `vctl` has too: its variable then is `VCTL_*`, and the same for both.
pub(super) fn is_shared(name: &str) -> bool {
    KEYS.iter().any(|key| key.name == name)
}

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "vault_addr",
        kind: "`https://host:port`",
        default: "",
        doc: "Where Vault or OpenBao is. Default: none, and records stay on this host. Unlike `vctl`, \
              the agent does not look at `VAULT_ADDR`: what is set in a shell must not decide where \
              records go.",
        switch: false,
        set: |config, raw| put(&mut config.centre.vault_addr, raw.one().map(Some)),
        get: |config| shown(config.centre.vault_addr.as_ref()),
    },
    Key {
        name: "vault_namespace",
        kind: "text",
        default: "",
        doc: "Namespace within Vault. Default: none.",
        switch: false,
        set: |config, raw| put(&mut config.centre.vault_namespace, raw.one().map(Some)),
        get: |config| shown(config.centre.vault_namespace.as_ref()),
    },
    Key {
        name: "vault_ca_cert",
        kind: "absolute path",
        default: "",
        doc: "PEM file with the only authorities that Vault's certificate may come from. Default: \
              those of the system.",
        switch: false,
        set: |config, raw| {
            let path = raw.absolute_path();
            put(&mut config.centre.vault_ca_cert, path.map(Some))
        },
        get: |config| shown_path(config.centre.vault_ca_cert.as_ref()),
    },
    Key {
        name: "database_mount",
        kind: "text",
        default: "database",
        doc: "Where Vault's database engine is mounted.",
        switch: false,
        set: |config, raw| put(&mut config.centre.database_mount, raw.one()),
        get: |config| text(&config.centre.database_mount),
    },
    Key {
        name: "approle_mount",
        kind: "text",
        default: "approle",
        doc: "Where Vault's AppRole logins are mounted, without `auth/`.",
        switch: false,
        set: |config, raw| put(&mut config.centre.approle_mount, raw.one()),
        get: |config| text(&config.centre.approle_mount),
    },
    Key {
        name: "role_id_file",
        kind: "absolute path",
        default: "/etc/vctl/role_id",
        doc: "File with the role id of this host's AppRole, made by `vctl host enroll`.",
        switch: false,
        set: |config, raw| put(&mut config.centre.role_id_file, raw.absolute_path()),
        get: |config| text(&config.centre.role_id_file.display()),
    },
    Key {
        name: "secret_id_file",
        kind: "absolute path",
        default: "/etc/vctl/secret_id",
        doc: "File with the secret id of this host's AppRole, owned by root and readable by nobody \
              else; or with the wrapping token that `vctl host enroll` gives, which the collector \
              opens once, to keep the secret id in its place. It also replaces the secret id before \
              it expires.",
        switch: false,
        set: |config, raw| put(&mut config.centre.secret_id_file, raw.absolute_path()),
        get: |config| text(&config.centre.secret_id_file.display()),
    },
    Key {
        name: "db_host",
        kind: "host name or address",
        default: "",
        doc: "Where Postgres is. Default: none.",
        switch: false,
        set: |config, raw| put(&mut config.centre.db_host, raw.one().map(Some)),
        get: |config| shown(config.centre.db_host.as_ref()),
    },
    Key {
        name: "db_port",
        kind: "port",
        default: "5432",
        doc: "Port of Postgres.",
        switch: false,
        set: |config, raw| {
            let port: u16 = raw.one()?;
            if port == 0 {
                return Err("`0` is no port".to_owned());
            }
            config.centre.db_port = port;
            Ok(())
        },
        get: |config| text(&config.centre.db_port),
    },
    Key {
        name: "db_name",
        kind: "text",
        default: "vctl",
        doc: "Name of the database.",
        switch: false,
        set: |config, raw| put(&mut config.centre.db_name, raw.one()),
        get: |config| text(&config.centre.db_name),
    },
    Key {
        name: "db_servername",
        kind: "host name",
        default: "",
        doc: "The name that the certificate of Postgres must have. Default: `db_host`.",
        switch: false,
        set: |config, raw| put(&mut config.centre.db_servername, raw.one().map(Some)),
        get: |config| shown(config.centre.db_servername.as_ref()),
    },
    Key {
        name: "db_ca_cert",
        kind: "absolute path",
        default: "",
        doc: "PEM file with the only authorities that the certificate of Postgres may come from. \
              Default: those of the system.",
        switch: false,
        set: |config, raw| {
            let path = raw.absolute_path();
            put(&mut config.centre.db_ca_cert, path.map(Some))
        },
        get: |config| shown_path(config.centre.db_ca_cert.as_ref()),
    },
];

fn shown(value: Option<&String>) -> Shown {
    value.map_or(Shown::None, text)
}

fn shown_path(path: Option<&PathBuf>) -> Shown {
    path.map_or(Shown::None, |path| text(&path.display()))
}

#[cfg(test)]
mod tests {

    #[test]
    fn half_a_centre_is_named_by_what_is_missing() {
        let mut centre = crate::config::Config::default().centre;
        assert!(!centre.is_set());
        centre.vault_addr = Some("https://vault.example:8200".to_owned());
        assert!(centre.is_set());
        let error = centre.settings().unwrap_err();
        assert_eq!(error.to_string(), "`db_host` is not set");
        assert!(error.hint().contains("VCTL_DB_HOST"));
        centre.db_host = Some("db.example".to_owned());
        let settings = centre.settings().unwrap();
        assert_eq!((settings.db.port, &*settings.db.name), (5432, "vctl"));
        assert_eq!(settings.vault.database_mount, "database");
    }

    #[test]
    fn a_host_that_was_never_enrolled_is_told_how() {
        let mut centre = crate::config::Config::default().centre;
        centre.role_id_file = "/nonexistent/role_id".into();
        assert!(centre.auth().unwrap_err().hint().contains("enroll"));
    }
}
