//! `vctl-agent check`: checks that this host has what the agent needs.
//!
//! `collect` reads the facts of the host, `judge` decides about them, and `report` formats the
//! result.

mod centre;
mod collect;
mod facts;
mod judge;
mod login;
mod report;
mod sshd;

use std::path::Path;

use crate::config::Config;

pub use facts::{BreakGlass, HostFacts, SocketFact, SpoolFact, SshdFact};
pub use judge::judge;
pub use report::{Finding, Report, Status};

/// Checks this host, and the centre unless `local`.
pub fn run(config: &Config, local: bool) -> Report {
    let mut facts = collect::collect(Path::new("/"), config);
    if !local {
        facts.centre = centre::look(config);
    }
    judge(&facts, config)
}
