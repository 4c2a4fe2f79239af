//! What a shell offers at Tab: `docs/completion.md`.
//!
//! Names come from what is cached of the inventory and of the last lists, and never from the network: Tab waits for
//! no server and asks nothing.

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

/// Set by the shell's function when it asks.
const VARIABLE: &str = "VCTL_COMPLETE";

/// A home directory or a configuration file that takes longer is not waited for.
const BOUND: Duration = Duration::from_secs(1);

/// Answers a shell that asks; returns whether one did.
pub(crate) fn answer() -> bool {
    if std::env::var_os(VARIABLE).is_none() {
        return false;
    }
    // A message would stand on the command line that is being typed.
    panic::set_hook(Box::new(|_| {}));
    #[expect(
        clippy::exit,
        reason = "a file that hangs would hold every other way to end"
    )]
    thread::spawn(|| {
        thread::sleep(BOUND);
        process::exit(0);
    });
    // Relative paths are completed from there.
    let directory = std::env::current_dir().ok();
    let answered = CompleteEnv::with_factory(help::root)
        .var(VARIABLE)
        .try_complete(std::env::args_os(), directory.as_deref());
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
