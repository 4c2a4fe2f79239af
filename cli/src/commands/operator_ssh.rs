//! Options for a connection with the operator's own ssh.

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

/// How to connect to a host without a certificate.
#[derive(Debug, clap::Args)]
pub(super) struct OperatorSshArgs {
    /// User to log in as, instead of the inventory's user
    #[arg(long, value_name = "NAME", requires = "host", add = completion::login_user())]
    user: Option<String>,

    /// Port of sshd, instead of the inventory's port
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), requires = "host")]
    port: Option<u16>,

    /// Private key to log in with; no other key is used
    #[arg(short = 'i', value_name = "KEY", requires = "host")]
    key: Option<PathBuf>,

    /// Connect directly, without the jump host of the inventory
    #[arg(long, requires = "host")]
    direct: bool,
}

impl OperatorSshArgs {
    /// Returns the destination of a plan.
    pub(super) fn destination(
        &self,
        plan: &RoutePlan,
        sudo: bool,
    ) -> Result<BootstrapTarget, CliError> {
        let target = &plan.target;
        let jumps = plan.jumps.iter().map(|jump| (jump.user.clone(), jump.addr));
        let mut to = self.to_address(&target.user, target.addr, sudo);
        to.name.clone_from(&target.name);
        to.config_without_include = before(&target.name)?;
        if !self.direct {
            to.jumps = jumps.collect();
        }
        Ok(to)
    }

    /// Returns the destination for an address that is not in the inventory.
    pub(super) fn to_address(
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

/// Returns the operator's ssh_config without the lines of `vctl ssh-config`, if these cover the host: they
/// offer only certificates, which the host may not accept yet.
fn before(host: &str) -> Result<Option<ConfigWithoutInclude>, CliError> {
    let place = SocketDir::of(&StateDir::find());
    match home::dir() {
        Some(home) if openssh::is_about(&place.config(), host) => {
            ConfigWithoutInclude::of(&home.join(".ssh/config"), true)
        }
        _ => Ok(None),
    }
}
