//! `stopwatch FILE PROGRAM ARGS…`: becomes the program, and notes the program's start and end.
//!
//! The specs start a PAM hook through it, to measure how long the hook delays the login. The hook does not take part
//! in the measurement. The stopwatch replaces itself instead of waiting, so the parent of the hook stays the same.
//! The hook inherits a pipe without knowing it. A second process sees the end of this pipe when the hook ends.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::process::{Command, Stdio, id};

use anyhow::Context as _;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use vctl_tests::load::ledger::boot_now;

/// Argument in place of a program. It selects the work of the second process.
const AWAIT_END: &str = "--await-end";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let file = arguments.next().context("no file was named")?;
    let program = arguments.next().context("no program was named")?;
    if program == AWAIT_END {
        let name = arguments
            .next()
            .context("the name of the hook is missing")?;
        io::stdin().read_to_end(&mut Vec::new())?;
        return note(&file, "end", &name.to_string_lossy());
    }
    // PAM runs the lines of a session again when it closes the session. This variable tells the two apart.
    let kind = std::env::var("PAM_TYPE").unwrap_or_else(|_| "none".to_owned());
    let name = format!("{kind} {} {}", parent_id(), id());
    let (end, held) = io::pipe()?;
    Command::new(std::env::current_exe()?)
        .args([&file, &OsString::from(AWAIT_END), &OsString::from(&name)])
        .stdin(Stdio::from(end))
        .spawn()?;
    // The program inherits the pipe from here on. The second process must not inherit it.
    fcntl(&held, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let mut command = Command::new(program);
    command.args(arguments);
    note(&file, "begin", &name)?;
    // `exec` returns only on failure.
    Err(command.exec().into())
}

/// Writes each line with one call, so that lines of concurrent logins do not mix.
fn note(file: &OsString, label: &str, name: &str) -> anyhow::Result<()> {
    let line = format!("{label} {name} {}\n", boot_now().0);
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    Ok(file.write_all(line.as_bytes())?)
}
