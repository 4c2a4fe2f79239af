//! The inventory from `~/.ssh/config`: which hosts it has, and which of them answer.
//!
//! What a host's settings are is asked of `ssh -G`: `Include`, `Match`, `Host *` and tokens mean what
//! they mean to ssh, of whatever version. Only the names are read here.

pub(crate) mod aliases;
mod jumps;
mod plan;
mod probe;
mod report;
mod resolved;

pub(crate) use plan::{Candidate, Failure, FailureKind, Planned, plan};
pub(crate) use probe::probe;
pub(crate) use report::report;
pub(crate) use resolved::{Asked, Ssh};
