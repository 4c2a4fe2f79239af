//! The side effects a lab has, by what takes them back.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use vctl_common::time::WallOffset;

use super::account;
use super::clock;
use super::process;

/// One change, by what undoes it. Undoing a change that was never made, or was undone, does
/// nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "snake_case")]
pub enum Undo {
    RemoveFile {
        path: PathBuf,
    },
    RemoveTree {
        path: PathBuf,
    },
    Unmount {
        path: PathBuf,
    },
    /// The group itself and those below it; their processes must be gone.
    RemoveCgroups {
        path: PathBuf,
    },
    /// Sets the wall clock back to what it would be had nobody stepped it.
    RestoreClock {
        offset_ns: i64,
    },
    /// Ends the account's processes, then deletes it.
    DeleteUser {
        name: String,
    },
    /// Ends each process that runs `program` and names `argument`, a path no other lab has.
    EndProcess {
        program: PathBuf,
        argument: PathBuf,
    },
    /// Ends a Postgres server with all its backends, and frees what it holds in the kernel.
    EndPostgres {
        program: PathBuf,
        data: PathBuf,
    },
    /// Puts a kernel setting back.
    WriteFile {
        path: PathBuf,
        content: String,
    },
}

impl Undo {
    pub(super) fn undo(&self) -> Result<()> {
        match self {
            Self::RemoveFile { path } => gone(fs::remove_file(path), path),
            Self::RemoveTree { path } => gone(fs::remove_dir_all(path), path),
            Self::Unmount { path } => match nix::mount::umount(path) {
                // Not mounted, or in use by somebody who came later.
                Ok(()) | Err(nix::Error::EINVAL | nix::Error::EBUSY) => Ok(()),
                Err(error) => {
                    Err(error).with_context(|| format!("cannot unmount `{}`", path.display()))
                }
            },
            Self::RemoveCgroups { path } => remove_cgroups(path),
            Self::RestoreClock { offset_ns } => clock::set(WallOffset::from_ns(*offset_ns)),
            Self::DeleteUser { name } => delete_user(name),
            Self::EndProcess { program, argument } => {
                end(Signal::SIGTERM, || process::running(program, argument))
            }
            Self::EndPostgres { program, data } => end_postgres(program, data),
            Self::WriteFile { path, content } => fs::write(path, content)
                .with_context(|| format!("cannot restore `{}`", path.display())),
        }
    }
}

fn gone(result: std::io::Result<()>, path: &Path) -> Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("cannot remove `{}`", path.display())),
    }
}

/// The files in a cgroup go with it; only directories can be removed.
fn remove_cgroups(path: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(path) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroups(&entry.path())?;
        }
    }
    gone(fs::remove_dir(path), path)
}

fn delete_user(name: &str) -> Result<()> {
    let Some(user) = nix::unistd::User::from_name(name)? else {
        return Ok(());
    };
    end(Signal::SIGTERM, || process::of_user(user.uid.as_raw()))?;
    let _lock = account::lock()?;
    let output = Command::new("userdel").arg(name).output()?;
    if !output.status.success() {
        bail!(
            "cannot delete user `{name}`: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// Ends server and backends; SIGTERM would wait until the last client has gone.
///
/// The backends change their command line, but each works in the data directory.
fn end_postgres(program: &Path, data: &Path) -> Result<()> {
    end(Signal::SIGQUIT, || process::working_in(program, data))?;
    // Left by a server that was killed: line 7 is key and id of its System V shared memory.
    let Ok(left) = fs::read_to_string(data.join("postmaster.pid")) else {
        return Ok(());
    };
    let memory = left.lines().nth(6);
    if let Some(id) = memory.and_then(|line| line.split_whitespace().nth(1)) {
        // Fails where the memory has gone already, which is as good.
        Command::new("ipcrm").args(["-m", id]).output()?;
    }
    gone(
        fs::remove_file(data.join("postmaster.pid")),
        Path::new("postmaster.pid"),
    )
}

/// Asks the processes to end, and after two seconds no longer asks.
fn end(mut signal: Signal, processes: impl Fn() -> Result<Vec<Pid>>) -> Result<()> {
    let asked = Instant::now();
    loop {
        let pids = processes()?;
        if pids.is_empty() {
            return Ok(());
        }
        for pid in &pids {
            // It may have ended by itself meanwhile.
            let _ = kill(*pid, signal);
            // A stopped process takes SIGTERM only when it goes on.
            let _ = kill(*pid, Signal::SIGCONT);
        }
        if asked.elapsed() > Duration::from_secs(30) {
            bail!("processes {pids:?} do not end");
        }
        std::thread::sleep(Duration::from_millis(30));
        signal = if asked.elapsed() > Duration::from_secs(2) {
            Signal::SIGKILL
        } else {
            signal
        };
    }
}
