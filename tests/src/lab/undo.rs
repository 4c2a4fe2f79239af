//! Changes that a lab makes on the machine, named by the action that undoes them.

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
use super::mounts;
use super::process;

/// One change, named by its undo. Undoing a change that was never made, or was undone before, does nothing.
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
    /// Ends a lab's use of bpffs and tracefs, which all labs share.
    LeaveMounts {
        lab: String,
    },
    /// Removes the group and the groups below it. Their processes must have ended.
    RemoveCgroups {
        path: PathBuf,
    },
    /// Sets the wall clock to the time that it would have without the step.
    RestoreClock {
        offset_ns: i64,
    },
    /// Ends the account's processes, then deletes it.
    DeleteUser {
        name: String,
    },
    /// Ends each process that runs `program` and has `argument`, a path that no other lab has.
    EndProcess {
        program: PathBuf,
        argument: PathBuf,
    },
    /// Ends a Postgres server with all its backends, and frees its kernel resources.
    EndPostgres {
        program: PathBuf,
        data: PathBuf,
    },
    /// Restores a kernel setting.
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
                // The file system is not mounted, or a later process uses it.
                Ok(()) | Err(nix::Error::EINVAL | nix::Error::EBUSY) => Ok(()),
                Err(error) => {
                    Err(error).with_context(|| format!("cannot unmount `{}`", path.display()))
                }
            },
            Self::LeaveMounts { lab } => mounts::leave(lab),
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

/// The kernel removes the files in a cgroup together with it. Only directories can be removed.
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

/// Ends server and backends. After SIGTERM alone Postgres would wait until the last client disconnects.
///
/// The backends change their command line, but each has the data directory as its working directory.
fn end_postgres(program: &Path, data: &Path) -> Result<()> {
    end(Signal::SIGQUIT, || process::working_in(program, data))?;
    // The file stays after a server was killed. Line 7 has key and id of its System V shared memory.
    let Ok(left) = fs::read_to_string(data.join("postmaster.pid")) else {
        return Ok(());
    };
    let memory = left.lines().nth(6);
    if let Some(id) = memory.and_then(|line| line.split_whitespace().nth(1)) {
        // This fails when the memory does not exist any more, which is fine.
        Command::new("ipcrm").args(["-m", id]).output()?;
    }
    gone(
        fs::remove_file(data.join("postmaster.pid")),
        Path::new("postmaster.pid"),
    )
}

/// Sends SIGTERM to the processes, and SIGKILL after two seconds.
fn end(mut signal: Signal, processes: impl Fn() -> Result<Vec<Pid>>) -> Result<()> {
    let asked = Instant::now();
    loop {
        let pids = processes()?;
        if pids.is_empty() {
            return Ok(());
        }
        for pid in &pids {
            // The process may have ended by itself meanwhile.
            let _ = kill(*pid, signal);
            // A stopped process handles SIGTERM only after it continues.
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
