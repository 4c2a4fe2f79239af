//! `vctl ssh-agent`: the agent socket that connects `ssh` with `vctl proxy`.

use std::time::Duration;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::files::state_dir::StateDir;
use crate::openssh::{self, Ending, SocketDir};
use crate::ui::help::TEMPLATE;

/// Serve the agent socket that ssh_config names
///
/// Connects each `ssh` with its own `vctl proxy`, which has the certificate. This process holds no keys.
/// The first proxy starts it, and it exits when no proxy has run for a while: you do not need to start it.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
pub(crate) struct SshAgentArgs {
    /// Milliseconds between two looks for proxies: for tests
    #[arg(long, hide = true)]
    look_ms: Option<u64>,

    /// Milliseconds that it stays without a login, where files cannot be locked: for tests
    #[arg(long, hide = true)]
    linger_ms: Option<u64>,
}

pub(crate) fn run(args: &SshAgentArgs, _: &Globals) -> Result<(), Stop> {
    let state = StateDir::find();
    let place = SocketDir::of(&state);
    place.make(&state)?;
    let usual = Ending::default();
    let ending = Ending {
        look: args.look_ms.map_or(usual.look, Duration::from_millis),
        linger: args.linger_ms.map_or(usual.linger, Duration::from_millis),
    };
    let serving = async {
        let served = openssh::run_agent_mux(&place, ending).await;
        served.map_err(|error| place.unusable(&error).into())
    };
    match context::run_without_store(serving) {
        // A signal is the normal way to stop a daemon.
        Err(Stop::Interrupted) => Ok(()),
        other => other,
    }
}
