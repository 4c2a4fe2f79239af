//! What a shell is told when somebody presses Tab: `docs/completion.md`.
//!
//! Names of hosts come from what is kept of the inventory, and never from the network: nobody waits for a
//! server between two keys, and nobody is asked to log in.

use std::ffi::OsStr;
use std::io;

use clap::CommandFactory as _;
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCompleter, CompletionCandidate, Shell};
use jiff::Timestamp;

use crate::args::Cli;
use crate::config;
use crate::login::StateDir;
use crate::snapshot::SnapshotFile;

/// Set by the shell's function when it asks.
const VARIABLE: &str = "VCTL_COMPLETE";

/// Answers a shell that asks; returns whether one did.
pub(crate) fn answer() -> bool {
    let answered = CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(std::env::args_os(), None);
    // A shell that is told nothing completes nothing: a message would stand on somebody's command line.
    answered.unwrap_or(true)
}

/// Writes what makes `shell` ask.
pub(crate) fn write_registration(shell: Shell, out: &mut Vec<u8>) -> io::Result<()> {
    let shells = Shells::builtins();
    let completer = shells
        .completer(&shell.to_string())
        .ok_or_else(|| io::Error::other("vctl cannot complete for this shell"))?;
    completer.write_registration(VARIABLE, "vctl", "vctl", "vctl", out)
}

/// Completes the name of a host.
pub(crate) fn host() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| candidates(typed, ""))
}

/// Completes the name of a host before a `=`.
pub(crate) fn host_and_value() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| candidates(typed, "="))
}

fn candidates(typed: &OsStr, after: &str) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy().to_lowercase();
    let names = kept().into_iter().filter(|name| name.starts_with(&typed));
    names
        .map(|name| CompletionCandidate::new(name + after))
        .collect()
}

/// Returns the names that are kept; none when they cannot be used, for whatever reason.
fn kept() -> Vec<String> {
    let Ok(loaded) = config::load(&[]) else {
        return Vec::new();
    };
    let file = SnapshotFile::in_dir(&StateDir::find(), &config::settings(&loaded));
    file.names(Timestamp::now()).unwrap_or_default()
}
