//! `vctl-agent check`: does this host have what the agent needs?

mod facts;
mod judge;
mod report;

use crate::config::Config;

pub use facts::HostFacts;
pub use judge::judge;
pub use report::{Finding, Report, Status};

/// Looks at this host and judges what it sees.
pub fn run(config: &Config) -> Report {
    judge(&facts::collect(std::path::Path::new("/"), config), config)
}
