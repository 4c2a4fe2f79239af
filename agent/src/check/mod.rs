//! `vctl-agent check`: does this host have what the agent needs?
//!
//! `collect` reads what the host looks like, `judge` decides what that means, and only `report`
//! knows how it is written.

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

/// Looks at this host, and at the centre unless `local`, and judges what it sees.
pub fn run(config: &Config, local: bool) -> Report {
    let mut facts = collect::collect(Path::new("/"), config);
    if !local {
        facts.centre = centre::look(config);
    }
    judge(&facts, config)
}
