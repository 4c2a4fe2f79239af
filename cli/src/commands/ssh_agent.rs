//! `vctl ssh-agent`

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::error::Stop;
use crate::files::state_dir::StateDir;
use crate::openssh::{self, SocketDir};
use crate::ui::help::TEMPLATE;

/// Serve the agent socket that ssh_config names
///
/// Connects each `ssh` with its own `vctl proxy`, which has the certificate; holds no key itself. A proxy
/// starts it when there is none, and it ends when no proxy has been there for a while: there is no need
/// to start it by hand.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct SshAgentArgs {}

pub(crate) fn run(_: &SshAgentArgs, _: &Globals) -> Result<(), Stop> {
    let state = StateDir::find();
    let place = SocketDir::of(&state);
    place.make(&state)?;
    let serving = async {
        let served = openssh::run_agent_mux(&place).await;
        served.map_err(|error| place.unusable(&error).into())
    };
    match context::run_without_store(serving) {
        // That is how one ends a daemon.
        Err(Stop::Interrupted) => Ok(()),
        other => other,
    }
}
