//! Completion in the shell: docs/completion.md.
//!
//! Names come from the cached inventory and from the last lists, never from the network: Tab must not wait
//! for a server or prompt.

mod names;

use std::io;
use std::panic;
use std::process;
use std::thread;
use std::time::Duration;

use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

pub(crate) use names::{
    ca_role, command, data_centre, destination, host, host_and_value, login_user, person, session,
};

use crate::ui::help;

/// Environment variable that the shell's function sets.
const VARIABLE: &str = "VCTL_COMPLETE";

/// Maximum wait for a slow home directory or configuration file.
const BOUND: Duration = Duration::from_secs(1);

/// Prints completions if the shell asks for them, and returns whether it did.
pub(crate) fn answer() -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    // No messages: they would appear in the command line that the user types.
    panic::set_hook(Box::new(|_| {}));
    #[expect(
        clippy::exit,
        reason = "a hanging file would block every other way to exit"
    )]
    thread::spawn(|| {
        thread::sleep(BOUND);
        process::exit(0);
    });
    // The base of relative paths.
    let directory = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(help::root)
        .var(VARIABLE)
        .try_complete(std::env::args_os(), directory.as_deref());
    answered.unwrap_or(true)
}

/// Writes the script that makes `shell` run vctl for completion.
pub(crate) fn write_registration(shell: Shell, out: &mut Vec<u8>) -> io::Result<()> {
    let shells = Shells::builtins();
    let completer = shells
        .completer(&shell.to_string())
        .ok_or_else(|| io::Error::other("this shell is not supported"))?;
    completer.write_registration(VARIABLE, "vctl", "vctl", "vctl", out)
}
