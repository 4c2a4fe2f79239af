//! Export of sessions and accesses to a SIEM: each event once, from a checkpoint.
//!
//! A feed reads the central store in batches. A sink sends a batch. Then the checkpoint is written, so a restart
//! continues behind the last batch that was sent. `docs/export.md` states the guarantees.

pub(crate) mod access_feed;
pub(crate) mod arrivals;
pub(crate) mod checkpoint;
pub(crate) mod cursor;
pub(crate) mod ecs;
mod exported;
pub(crate) mod feed;
mod gap;
mod numbers;
pub(crate) mod otlp;
mod pending;
mod programs;
pub(crate) mod session_feed;
pub(crate) mod sink;
