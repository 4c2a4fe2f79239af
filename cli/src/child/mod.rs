//! Runs the command of `vctl exec`: environment, signals, exit status.

mod secrets;
mod signals;

use std::io;
use std::process::{Command, ExitStatus};

pub(crate) use secrets::{SecretVariable, secrets};
pub(crate) use signals::ForwardedSignals;

/// Runs a command to its end, and passes signals to it.
///
/// # Errors
/// The command could not be started.
pub(crate) async fn run(command: Command, signals: &ForwardedSignals) -> io::Result<ExitStatus> {
    let mut child = tokio::process::Command::from(command).spawn()?;
    let id = child.id();
    loop {
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => signal.pass_on(id),
        }
    }
}
