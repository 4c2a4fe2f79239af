//! Undoes a centre whose owner was killed.
//!
//! Servers could be told to die with the thread that started them, but that is a test's thread, and
//! directories and accounts cannot. So a process of its own waits for the journal's lock, which the
//! kernel takes from the owner whatever ended it.

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
            // The owner's Ctrl-C is not for it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        Ok(Self(child))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Dropped when all is undone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program `stack`: this one, or the one beside this one.
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
