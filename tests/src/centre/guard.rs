//! Undoes a centre when its owner was killed.
//!
//! The kernel can end a server together with the thread that started it. But this thread runs one test only,
//! and the kernel cannot remove directories and accounts. So a separate process waits for the journal's lock.
//! The kernel releases this lock when the owner ends, whatever the cause.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::lab::Journal;

pub(super) struct Guard(Child);

impl Guard {
    /// Starts the guard of a journal.
    pub(super) fn start(journal: &Journal) -> Result<Self> {
        let program = program()?;
        let child = Command::new(&program)
            .arg("guard")
            .arg(journal.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Ctrl-C at the owner's terminal must not end the guard.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        Ok(Self(child))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Dropped when everything is undone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the program `stack`: this program, or the one in the same directory.
pub(super) fn program() -> Result<PathBuf> {
    let directory = crate::lab::directory_of_programs()?;
    let program = directory.join("stack");
    ensure!(
        program.exists(),
        "`{}` is not built: run `cargo build -p vctl-tests --bins`",
        program.display()
    );
    Ok(program)
}
