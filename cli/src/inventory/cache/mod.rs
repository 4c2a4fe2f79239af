//! The cache of hosts, for outages of Postgres: docs/outage.md.
//!
//! Every command that reads the whole inventory writes the cache ([`file`]). Commands that only read hosts use
//! [`HostLookup`], which falls back to the cache. The cache has no observations, so that an old report does not
//! look like a new one, and no rights: Vault is still asked.
//!
//! [`HostLookup`]: super::lookup::HostLookup

mod file;
mod recent;
pub(crate) mod text;

pub(crate) use file::{CacheError, Snapshot, SnapshotFile};
pub(crate) use recent::{Recent, RecentFile};
