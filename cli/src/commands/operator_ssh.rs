//! The operator's own ssh: where it goes and as whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::completion;
use crate::error::CliError;
use crate::files::home;
use crate::files::state_dir::StateDir;
use crate::openssh::without_include::ConfigWithoutInclude;
use crate::openssh::{self, SocketDir};
use crate::ssh::RoutePlan;
use crate::trust_ca::BootstrapTarget;

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
    pub(super) fn destination(
        &self,
        plan: &RoutePlan,
        sudo: bool,
    ) -> Result<BootstrapTarget, CliError> {
        let target = &plan.target;
        let jumps = plan.jumps.iter().map(|jump| (jump.user.clone(), jump.addr));
        let mut to = self.past_the_inventory(&target.user, target.addr, sudo);
        to.name.clone_from(&target.name);
        to.config_without_include = before(&target.name)?;
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
    ) -> BootstrapTarget {
        if let Some(port) = self.port {
            addr.set_port(port);
        }
        BootstrapTarget {
            config_without_include: None,
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
fn before(host: &str) -> Result<Option<ConfigWithoutInclude>, CliError> {
    let place = SocketDir::of(&StateDir::find());
    match home::dir() {
        Some(home) if openssh::is_about(&place.config(), host) => {
            ConfigWithoutInclude::of(&home.join(".ssh/config"), true)
        }
        _ => Ok(None),
    }
}
