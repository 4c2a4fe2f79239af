//! `vctl node-agent`: runs `vctl-agent node`, the host's heartbeat.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// Path of the packaged program, for a `PATH` without `sbin`.
const INSTALLED: &str = "/usr/sbin/vctl-agent";

/// Report the status of this host: run `vctl-agent node`
///
/// Passes all arguments to `vctl-agent node`; `vctl node-agent --help` prints its help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct NodeAgentArgs {
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS"
    )]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &NodeAgentArgs) -> Result<(), Stop> {
    let mut last = None;
    for program in ["vctl-agent", INSTALLED] {
        // Returns only if the program could not be executed.
        let error = Command::new(program)
            .arg("node")
            .args(&args.arguments)
            .exec();
        let absent = error.kind() == io::ErrorKind::NotFound;
        last = Some((program, error));
        if !absent {
            break;
        }
    }
    let Some((program, error)) = last else {
        return Ok(());
    };
    if error.kind() == io::ErrorKind::NotFound {
        let message = format!("`vctl-agent` is neither in PATH nor at `{INSTALLED}`");
        return Err(CliError::new(Exit::Failure, message)
            .hint("install vctl-agent on this host")
            .into());
    }
    Err(
        CliError::new(Exit::Failure, format!("cannot run `{program}`"))
            .caused_by(&error)
            .into(),
    )
}
