//! `stopwatch FILE LABEL [PROGRAM ARGS…]`: notes the boot clock, then becomes the program.
//!
//! Put before a PAM hook in the stack it tells when the hook began, in a line of its own after it
//! when the hook was over, without the hook's help. It replaces itself instead of waiting, so the
//! hook keeps the parent it would have had.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, parent_id};
use std::process::Command;

use anyhow::Context as _;
use vctl_tests::load::ledger::boot_now;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let file = arguments.next().context("no file was named")?;
    let label = arguments.next().context("no label was given")?;
    let line = format!("{} {} {}\n", label.display(), parent_id(), boot_now().0);
    // One write, so that lines of concurrent logins do not mix.
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    file.write_all(line.as_bytes())?;
    let Some(program) = arguments.next() else {
        return Ok(());
    };
    // Returns only when it failed.
    Err(Command::new(program).args(arguments).exec().into())
}
