//! `vctl ssh-agent`: the agent socket that connects `ssh` with `vctl proxy`.

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::error::Stop;
use crate::files::state_dir::StateDir;
use crate::openssh::{self, SocketDir};
use crate::ui::help::TEMPLATE;

/// Serve the agent socket that ssh_config names
///
/// Connects each `ssh` with its own `vctl proxy`, which has the certificate. This process holds no keys.
/// The first proxy starts it, and it exits when no proxy has run for a while: you do not need to start it.
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
        // A signal is the normal way to stop a daemon.
        Err(Stop::Interrupted) => Ok(()),
        other => other,
    }
}
