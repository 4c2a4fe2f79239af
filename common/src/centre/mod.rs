//! Location of the centre, as plain settings: Vault and Postgres. The caller fills them in from a
//! file or the environment.

mod role;

use std::time::Duration;

use crate::tls::Trust;

pub use role::{DbRole, RoleNames};

/// Settings to reach the centre, without the client's own identity.
#[derive(Clone, Debug)]
pub struct Settings {
    pub vault: VaultSettings,
    pub db: DbSettings,
}

/// Location of Vault (or OpenBao).
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// `https://host:port`. Plain `http` is refused except for loopback, since every request
    /// carries the token.
    pub addr: String,
    pub namespace: Option<String>,
    /// Certificate authorities that may sign the server's certificate.
    pub trust: Trust,
    pub database_mount: String,
    pub ssh_mount: String,
    /// Roles of the database engine.
    pub roles: RoleNames,
    /// Limit for one request, from beginning to end.
    pub timeout: Duration,
}

impl VaultSettings {
    /// Returns the default settings for a server.
    pub fn new(addr: impl Into<String>) -> Self {
        Self {
            addr: addr.into(),
            namespace: None,
            trust: Trust::default(),
            database_mount: "database".to_owned(),
            ssh_mount: "ssh".to_owned(),
            roles: RoleNames::default(),
            timeout: Duration::from_secs(15),
        }
    }
}

/// Location of Postgres. Connections always use TLS with a verified name.
#[derive(Clone, Debug)]
pub struct DbSettings {
    pub host: String,
    pub port: u16,
    pub name: String,
    /// Name that the server's certificate must have; `None` means `host`.
    pub server_name: Option<String>,
    /// Certificate authorities that may sign the server's certificate.
    pub trust: Trust,
    /// Name shown in `pg_stat_activity`.
    pub application_name: String,
    /// Limit for each step of a connection: TCP, TLS, and the login.
    pub connect_timeout: Duration,
}

impl DbSettings {
    /// Returns the default settings for a server.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 5432,
            name: "vctl".to_owned(),
            server_name: None,
            trust: Trust::default(),
            application_name: "vctl".to_owned(),
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// Returns the name the server's certificate must have.
    pub fn tls_name(&self) -> &str {
        self.server_name.as_deref().unwrap_or(&self.host)
    }

    /// Returns the address and name of the database, as `host:port/name`.
    pub fn location(&self) -> String {
        format!("{}:{}/{}", self.host, self.port, self.name)
    }
}
