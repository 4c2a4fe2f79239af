//! State of a running stack, and whether it runs.
//!
//! The owner holds a lock as long as it lives. A pid alone is not enough, because another process may have it by now.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use vctl_tests::centre::shell_word;

/// A running stack. It contains secrets, so it has no `Debug`.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) pid: u32,
    /// Text for users: which server runs where.
    pub(crate) lines: Vec<String>,
    /// Commands for a new shell. Empty for a bare stack.
    pub(crate) first_steps: Vec<String>,
    /// Environment variables for shells.
    pub(crate) exports: Vec<(String, String)>,
}

impl State {
    /// Returns the addresses of the servers, the first commands to try, and how to use and end the stack. `stack` is
    /// the command that the user typed.
    pub(crate) fn summary(&self, stack: &str) -> String {
        let mut lines = self.lines.clone();
        if !self.first_steps.is_empty() {
            lines.push("try it in a new shell, of any account:".to_owned());
            lines.extend(self.first_steps.iter().map(|step| format!("  {step}")));
        }
        lines.push("use it with the rights of its administrator:".to_owned());
        lines.push(format!("  eval \"$({stack} env)\""));
        lines.push(format!("end it with: {stack} down"));
        lines.join("\n")
    }

    /// Returns one shell line for each variable.
    pub(crate) fn exports(&self) -> String {
        let lines = self
            .exports
            .iter()
            .map(|(name, value)| format!("export {name}={}\n", shell_word(value)));
        lines.collect()
    }
}

/// Directory of one stack: its state, its log, its lock. Only its owner can read it.
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn create(&self) -> Result<()> {
        let made = DirBuilder::new().mode(0o700).create(&self.path);
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            made => made.with_context(|| format!("cannot make `{}`", self.path.display())),
        }
    }

    /// Locks the stack, as its owner.
    ///
    /// # Errors
    /// When another process has the lock.
    pub(crate) fn take(&self) -> Result<File> {
        let file = File::create(self.lock_path())?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => bail!("the stack is being started or ended already"),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Returns true while a stack is being started, runs, or is being ended.
    pub(crate) fn is_held(&self) -> Result<bool> {
        let file = match File::open(self.lock_path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            file => file.with_context(|| {
                format!("cannot look at the stack in `{}`", self.path.display())
            })?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Returns the running stack. Returns `None` also while the stack is being started.
    pub(crate) fn running(&self) -> Result<Option<State>> {
        if self.is_held()? {
            self.read()
        } else {
            Ok(None)
        }
    }

    pub(crate) fn read(&self) -> Result<Option<State>> {
        match fs::read(self.state_path()) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            bytes => Ok(Some(serde_json::from_slice(&bytes?)?)),
        }
    }

    pub(crate) fn write(&self, state: &State) -> Result<()> {
        let unfinished = self.path.join("state.new");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(&serde_json::to_vec_pretty(state)?)?;
        Ok(fs::rename(unfinished, self.state_path())?)
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path.join("log")
    }

    fn state_path(&self) -> PathBuf {
        self.path.join("state.json")
    }

    fn lock_path(&self) -> PathBuf {
        self.path.join("lock")
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    fn state(first_steps: &[&str]) -> State {
        State {
            pid: 1,
            lines: vec!["  sshd: a".to_owned()],
            first_steps: first_steps.iter().map(|&step| step.to_owned()).collect(),
            exports: vec![("A".to_owned(), "it's".to_owned())],
        }
    }

    #[test]
    fn a_value_with_a_quote_in_it_is_one_word_of_shell() {
        assert_eq!(state(&[]).exports(), "export A='it'\\''s'\n");
    }

    #[test]
    fn each_printed_command_names_the_state_directory() {
        let summary = state(&["vctl ssh web-1"]).summary("stack --state /x");
        assert!(summary.contains("\n  vctl ssh web-1\n"), "{summary}");
        assert!(
            summary.contains("\n  eval \"$(stack --state /x env)\"\n"),
            "{summary}"
        );
        assert!(summary.ends_with(": stack --state /x down"), "{summary}");
        let bare = state(&[]).summary("stack --state /x");
        assert!(!bare.contains("new shell"), "{bare}");
    }
}
