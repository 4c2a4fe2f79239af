//! The hosts of the inventory as they were last read, for when Postgres is away: `docs/outage.md`.
//!
//! Every command that reads the whole inventory keeps it on this machine ([`file`]); those that only read
//! take their hosts through [`Directory`], which falls back on it. What is seen of hosts is not kept, so
//! nobody takes an old sight for a new one, and nor is what anybody may do: Vault is still asked.

mod file;
mod recent;
pub(crate) mod text;

pub(crate) use file::{Origin, Snapshot, SnapshotFile, Unusable};
pub(crate) use recent::{Recent, RecentFile};
