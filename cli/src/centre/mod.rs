//! Connections to Vault and Postgres for one command.

pub(crate) mod capabilities;
pub(crate) mod context;
pub(crate) mod host_identity;
pub(crate) mod instant;
pub(crate) mod outage;
pub(crate) mod shared_connection;
