//! The import from `~/.ssh/config`: reads its hosts, and tests their SSH ports.
//!
//! The settings of each host come from `ssh -G`, so that `Include`, `Match`, `Host *` and tokens have the
//! meaning of the installed ssh. vctl itself reads only the names.

pub(crate) mod aliases;
mod dry_run;
mod jumps;
mod outcome;
mod plan;
mod planned_host;
mod probe;
mod report;
mod resolved;

pub(crate) use dry_run::DryRun;
pub(crate) use outcome::ImportOutcome;
pub(crate) use plan::{Candidate, FailureKind, ImportFailure, plan};
pub(crate) use planned_host::PlannedHost;
pub(crate) use probe::probe;
pub(crate) use report::report;
pub(crate) use resolved::{Ssh, SshSettings};
