//! Where the centre is: Vault and Postgres, as plain settings. Whoever reads a file or the
//! environment fills them in.

mod role;

use std::time::Duration;

use crate::tls::Trust;

pub use role::{DbRole, RoleNames};

/// Everything it takes to reach the centre, but who asks.
#[derive(Clone, Debug)]
pub struct Settings {
    pub vault: VaultSettings,
    pub db: DbSettings,
}

/// Where Vault (or OpenBao) is.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// `https://host:port`; plain `http` is refused but for loopback, since every request carries the token.
    pub addr: String,
    pub namespace: Option<String>,
    /// Whose word it takes that it is the right one.
    pub trust: Trust,
    pub database_mount: String,
    pub ssh_mount: String,
    /// Roles of the database engine.
    pub roles: RoleNames,
    /// For one request from beginning to end.
    pub timeout: Duration,
}

impl VaultSettings {
    /// Returns the usual settings for a server.
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

/// Where Postgres is. It is reached with TLS and a verified name, or not at all.
#[derive(Clone, Debug)]
pub struct DbSettings {
    pub host: String,
    pub port: u16,
    pub name: String,
    /// The name its certificate must have; without one, `host`.
    pub server_name: Option<String>,
    /// Whose word it takes that it is the right one.
    pub trust: Trust,
    /// What `pg_stat_activity` shows.
    pub application_name: String,
    /// For one connection: TCP, TLS and the login together.
    pub connect_timeout: Duration,
}

impl DbSettings {
    /// Returns the usual settings for a server.
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
}
