//! Running somebody's command: what it gets, which signals reach it, how it ended.

mod secrets;
mod signals;

use std::io;
use std::process::{Command, ExitStatus};

pub(crate) use secrets::{SecretVariable, secrets};
pub(crate) use signals::Signals;

/// Runs a command to its end; meanwhile signals are its own.
///
/// # Errors
/// It could not be started.
pub(crate) async fn run(command: Command, signals: &Signals) -> io::Result<ExitStatus> {
    let mut child = tokio::process::Command::from(command).spawn()?;
    let id = child.id();
    loop {
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => signal.pass_on(id),
        }
    }
}
