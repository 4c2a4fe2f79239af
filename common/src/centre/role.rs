//! What a database credential is for: one Vault role per purpose.

use std::fmt;

use crate::host::HostName;

/// Purpose of a database connection; decides what it may do there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DbRole {
    /// Reads the inventory.
    Ro,
    /// Changes the inventory and command grants.
    Rw,
    /// Says that a person logged in.
    Identity,
    /// Reads accesses, sessions and events.
    AuditRo,
    /// Opens and closes a person's own access rows.
    AuditWriter,
    /// Ships one host's events; that it is this host is the server's word.
    AuditIngest(HostName),
    /// Reports one host's status.
    Status(HostName),
    /// Drops what is too old.
    Pruner,
    /// Becomes the owner of the schema.
    Migrator,
}

impl DbRole {
    /// Returns the name of its role in Vault's database engine.
    pub fn vault_role(&self) -> String {
        self.to_string()
    }

    /// Returns the Vault policy that gives it, for hints.
    pub fn policy(&self) -> String {
        match self {
            Self::Ro | Self::Identity => "vctl-user".to_owned(),
            Self::AuditRo => "vctl-auditor".to_owned(),
            Self::AuditWriter => "vctl-ssh".to_owned(),
            Self::Rw | Self::Migrator => "vctl-admin".to_owned(),
            Self::Pruner => "vctl-pruner".to_owned(),
            Self::AuditIngest(_) | Self::Status(_) => "vctl-host".to_owned(),
        }
    }
}

impl fmt::Display for DbRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ro => f.write_str("vctl-ro"),
            Self::Rw => f.write_str("vctl-rw"),
            Self::Identity => f.write_str("vctl-identity"),
            Self::AuditRo => f.write_str("vctl-audit-ro"),
            Self::AuditWriter => f.write_str("vctl-audit-writer"),
            Self::AuditIngest(host) => write!(f, "vctl-audit-ingest-{host}"),
            Self::Status(host) => write!(f, "vctl-status-{host}"),
            Self::Pruner => f.write_str("vctl-pruner"),
            Self::Migrator => f.write_str("vctl-migrator"),
        }
    }
}
