//! `vctl-agent check`: checks that this host has what the agent needs.
//!
//! `collect` reads the facts of the host, `judge` decides about them, and `report` formats the
//! result.

mod centre;
mod collect;
mod exec_exits;
mod facts;
mod judge;
mod login;
mod report;
mod sshd;
mod stream;

use std::path::Path;

use crate::config::Config;
use crate::pam::PamFiles;

pub(crate) use collect::{output, sshd_files};
pub use facts::{BreakGlass, HostFacts, SocketFact, SpoolFact, SshdFact};
pub use judge::judge;
pub(crate) use judge::selinux_at_boot;
pub use report::{Finding, Report, Status};

/// Checks the PAM stack of sshd's logins below `root`, with `files` in place of its PAM files.
pub(crate) fn pam(
    root: &Path,
    config: &Config,
    sshd: SshdFact,
    files: PamFiles,
) -> (String, Vec<Finding>) {
    let service = sshd::settings(&sshd).service().to_owned();
    let facts = HostFacts {
        stamp_programs: collect::stamp_programs(root, &files, &service),
        pam_files: files,
        sshd,
        ..HostFacts::default()
    };
    (service, login::pam(&facts, config))
}

/// Returns whether sshd uses PAM, and the PAM service of its logins.
pub(crate) fn sshd(sshd: &SshdFact) -> (Option<bool>, String) {
    let settings = sshd::settings(sshd);
    (settings.use_pam, settings.service().to_owned())
}

/// Checks this host, and the centre unless `local`.
pub fn run(config: &Config, local: bool) -> Report {
    let mut facts = collect::collect(Path::new("/"), config);
    if facts.is_root {
        facts.exec_exits = exec_exits::look(config);
    }
    if !local {
        facts.centre = centre::look(config);
        facts.stream = stream::look(config);
    }
    judge(&facts, config)
}
