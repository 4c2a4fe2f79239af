//! A shell that ends what a run started, also when the run itself is killed.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// Runs `begin` now, and `end` as soon as this value or this process is gone.
///
/// The shell waits for the end of its input, which this process holds. In a process group of its own, it does not get
/// Ctrl-C.
pub(super) struct Guard {
    shell: Child,
}

impl Guard {
    pub(super) fn start(begin: &str, end: &str, log: Stdio) -> Result<Self> {
        // The input of a background command is empty, so it cannot take that of the shell.
        let script = format!("{begin}\ncat > /dev/null\n{end}\n");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script]).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::null());
        let shell = shell.stderr(log).spawn().context("cannot run `sh`")?;
        Ok(Self { shell })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
