//! Vault and Postgres as one command uses them.

pub(crate) mod capabilities;
pub(crate) mod context;
pub(crate) mod globals;
pub(crate) mod host_identity;
pub(crate) mod instant;
