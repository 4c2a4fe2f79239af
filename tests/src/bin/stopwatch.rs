//! `stopwatch FILE PROGRAM ARGS…`: becomes the program, and notes when it began and when it ended.
//!
//! Put before a PAM hook it tells how long the login was held up, without the hook's help. It
//! replaces itself instead of waiting, so the hook keeps the parent it would have had; a second
//! process sees the end as the end of a pipe that the hook inherits without knowing.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::process::{Command, Stdio, id};

use anyhow::Context as _;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use vctl_tests::load::ledger::boot_now;

/// In place of a program: this is the second process.
const AWAIT_END: &str = "--await-end";

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let file = arguments.next().context("no file was named")?;
    let program = arguments.next().context("no program was named")?;
    if program == AWAIT_END {
        let name = arguments.next().context("nobody to wait for")?;
        io::stdin().read_to_end(&mut Vec::new())?;
        return note(&file, "end", &name.to_string_lossy());
    }
    // PAM runs a session's lines again when it closes the session, and says which it is.
    let kind = std::env::var("PAM_TYPE").unwrap_or_else(|_| "none".to_owned());
    let name = format!("{kind} {} {}", parent_id(), id());
    let (end, held) = io::pipe()?;
    Command::new(std::env::current_exe()?)
        .args([&file, &OsString::from(AWAIT_END), &OsString::from(&name)])
        .stdin(Stdio::from(end))
        .spawn()?;
    // From here on the program inherits it; the second process must not have.
    fcntl(&held, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let mut command = Command::new(program);
    command.args(arguments);
    note(&file, "begin", &name)?;
    // Returns only when it failed.
    Err(command.exec().into())
}

/// One write a line, so that lines of concurrent logins do not mix.
fn note(file: &OsString, label: &str, name: &str) -> anyhow::Result<()> {
    let line = format!("{label} {name} {}\n", boot_now().0);
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    Ok(file.write_all(line.as_bytes())?)
}
