//! The operator's own ssh: where it goes and as whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::completion;
use crate::error::CliError;
use crate::files::home;
use crate::files::state_dir::StateDir;
use crate::openssh::without_include::Before;
use crate::openssh::{self, MeetingPlace};
use crate::ssh::Plan;
use crate::trust_ca::Destination;

/// How a host is reached without a certificate.
#[derive(Debug, clap::Args)]
pub(super) struct ReachArgs {
    /// Whom to log in as, instead of the inventory's user
    #[arg(long, value_name = "NAME", requires = "host", add = completion::login_user())]
    user: Option<String>,

    /// The port of its sshd, instead of the inventory's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), requires = "host")]
    port: Option<u16>,

    /// The private key to log in with, and no other
    #[arg(short = 'i', value_name = "KEY", requires = "host")]
    key: Option<PathBuf>,

    /// Go there directly, whatever jump host the inventory names
    #[arg(long, requires = "host")]
    direct: bool,
}

impl ReachArgs {
    /// Where a plan leads to.
    pub(super) fn destination(&self, plan: &Plan, sudo: bool) -> Result<Destination, CliError> {
        let target = &plan.target;
        let jumps = plan.jumps.iter().map(|jump| (jump.user.clone(), jump.addr));
        let mut to = self.past_the_inventory(&target.user, target.addr, sudo);
        to.name.clone_from(&target.name);
        to.before = before(&target.name)?;
        if !self.direct {
            to.jumps = jumps.collect();
        }
        Ok(to)
    }

    /// Where an address is.
    pub(super) fn past_the_inventory(
        &self,
        user: &str,
        mut addr: SocketAddr,
        sudo: bool,
    ) -> Destination {
        if let Some(port) = self.port {
            addr.set_port(port);
        }
        Destination {
            before: None,
            name: addr.ip().to_string(),
            addr,
            user: self.user.clone().unwrap_or_else(|| user.to_owned()),
            jumps: Vec::new(),
            key: self.key.clone(),
            sudo,
        }
    }
}

/// Returns the operator's configuration as it was before `vctl ssh-config`, where that says something of the host:
/// what it says lets in with certificates alone, which the host may not take yet.
fn before(host: &str) -> Result<Option<Before>, CliError> {
    let place = MeetingPlace::of(&StateDir::find());
    match home::dir() {
        Some(home) if openssh::is_about(&place.config(), host) => {
            Before::of(&home.join(".ssh/config"), true)
        }
        _ => Ok(None),
    }
}
