//! Purposes of a database credential. Each purpose has its own Vault role.

use std::fmt;

use crate::enrolment::Enrolment;

/// Purpose of a database connection; it decides the rights of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DbRole {
    /// Reads the inventory.
    Ro,
    /// Changes the inventory and command grants.
    Rw,
    /// Records a person's login.
    Identity,
    /// Reads accesses, sessions and events.
    AuditRo,
    /// Opens and closes a person's own access rows.
    AuditWriter,
    /// Ships one host's events; the server verifies that the client is this host.
    AuditIngest(Enrolment),
    /// Stores the events that hosts published to JetStream, each under the name that the NATS server stated.
    StreamIngest,
    /// Reports one host's status.
    Status(Enrolment),
    /// Drops data after its retention period.
    Pruner,
    /// Requests the end of live sessions.
    SessionEnd,
    /// Records revocations, and requests the end of a user's live sessions.
    Revoke,
    /// Becomes the owner of the schema.
    Migrator,
}

impl DbRole {
    /// Returns the name of the role in Vault's database engine.
    pub fn vault_role(&self, names: &RoleNames) -> String {
        match self {
            Self::Ro => names.ro.clone(),
            Self::Rw => names.rw.clone(),
            Self::Identity => names.identity.clone(),
            Self::AuditRo => names.audit_ro.clone(),
            Self::AuditWriter => names.audit_write.clone(),
            Self::AuditIngest(enrolment) => format!("{}-{enrolment}", names.audit_ingest),
            Self::StreamIngest => names.stream_ingest.clone(),
            Self::Status(enrolment) => format!("{}-{enrolment}", names.status),
            Self::Pruner => names.prune.clone(),
            Self::SessionEnd => names.session_end.clone(),
            Self::Revoke => names.revoke.clone(),
            Self::Migrator => names.migrate.clone(),
        }
    }

    /// Returns the environment variable that sets the role's name in Vault.
    pub fn setting(&self) -> &'static str {
        match self {
            Self::Ro => "VCTL_DB_ROLE_RO",
            Self::Rw => "VCTL_DB_ROLE_RW",
            Self::Identity => "VCTL_DB_ROLE_IDENTITY",
            Self::AuditRo => "VCTL_DB_ROLE_AUDIT_RO",
            Self::AuditWriter => "VCTL_DB_ROLE_AUDIT_WRITE",
            Self::AuditIngest(_) => "VCTL_DB_ROLE_AUDIT_INGEST",
            Self::StreamIngest => "VCTL_DB_ROLE_STREAM_INGEST",
            Self::Status(_) => "VCTL_DB_ROLE_STATUS",
            Self::Pruner => "VCTL_DB_ROLE_PRUNE",
            Self::SessionEnd => "VCTL_DB_ROLE_SESSION_END",
            Self::Revoke => "VCTL_DB_ROLE_REVOKE",
            Self::Migrator => "VCTL_DB_ROLE_MIGRATE",
        }
    }

    /// Returns whether the role is created when a host is enrolled.
    pub fn is_of_a_host(&self) -> bool {
        matches!(self, Self::AuditIngest(_) | Self::Status(_))
    }

    /// Returns the Vault policy that grants the role, for hints.
    pub fn policy(&self) -> String {
        match self {
            Self::Ro | Self::Identity => "vctl-user".to_owned(),
            Self::AuditRo => "vctl-auditor".to_owned(),
            Self::AuditWriter => "vctl-ssh".to_owned(),
            Self::Rw | Self::Migrator => "vctl-admin".to_owned(),
            Self::Pruner => "vctl-pruner".to_owned(),
            Self::StreamIngest => "vctl-stream-ingest".to_owned(),
            Self::SessionEnd => "vctl-session-end".to_owned(),
            Self::Revoke => "vctl-revoke".to_owned(),
            Self::AuditIngest(_) | Self::Status(_) => "vctl-host".to_owned(),
        }
    }
}

/// Names of the roles in Vault's database engine. A host's roles end in `-` and the name of its
/// AppRole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleNames {
    pub ro: String,
    pub rw: String,
    pub identity: String,
    pub audit_ro: String,
    pub audit_write: String,
    pub audit_ingest: String,
    pub stream_ingest: String,
    pub prune: String,
    pub status: String,
    pub session_end: String,
    pub revoke: String,
    pub migrate: String,
}

impl Default for RoleNames {
    fn default() -> Self {
        Self {
            ro: "vctl-ro".to_owned(),
            rw: "vctl-rw".to_owned(),
            identity: "vctl-identity".to_owned(),
            audit_ro: "vctl-audit-ro".to_owned(),
            audit_write: "vctl-audit-writer".to_owned(),
            audit_ingest: "vctl-audit-ingest".to_owned(),
            stream_ingest: "vctl-stream-ingest".to_owned(),
            prune: "vctl-pruner".to_owned(),
            status: "vctl-status".to_owned(),
            session_end: "vctl-session-end".to_owned(),
            revoke: "vctl-revoke".to_owned(),
            migrate: "vctl-migrator".to_owned(),
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
            Self::AuditIngest(enrolment) => write!(f, "vctl-audit-ingest-{enrolment}"),
            Self::StreamIngest => f.write_str("vctl-stream-ingest"),
            Self::Status(enrolment) => write!(f, "vctl-status-{enrolment}"),
            Self::Pruner => f.write_str("vctl-pruner"),
            Self::SessionEnd => f.write_str("vctl-session-end"),
            Self::Revoke => f.write_str("vctl-revoke"),
            Self::Migrator => f.write_str("vctl-migrator"),
        }
    }
}
