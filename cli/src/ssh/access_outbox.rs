//! Accesses that could not be recorded in Postgres, stored on this machine and sent later.
//!
//! One file per access, with one JSON object per line: its beginning, then its end. Each line is on disk before vctl
//! continues. The process that writes the file holds a lock on it, so that no other process sends an access that still
//! goes on. On a file system without locks, an access is sent only when it has its end, or is days old.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nix::libc::O_NONBLOCK;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use vctl_common::file_lock::{self, Tried};
use vctl_common::pg::{Client, PgError};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::state_dir::StateDir;
use crate::ssh;

/// Maximum size; an access has two short lines.
const MOST: u64 = 1 << 20;

/// An access stored on this machine.
#[derive(Clone, Debug)]
pub(crate) struct OutboxEntry {
    path: PathBuf,
    /// Open while the access goes on, because of its lock.
    file: Arc<File>,
}

impl PartialEq for OutboxEntry {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for OutboxEntry {}

/// One line of a file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutboxLine {
    /// The row is not in Postgres yet.
    Opened {
        person: String,
        at: Timestamp,
        access: Value,
    },
    /// The row is in Postgres.
    Stored {
        person: String,
        id: i64,
    },
    Ended {
        at: Timestamp,
        end: Value,
    },
}

/// The directory of stored accesses.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    state: StateDir,
    dir: PathBuf,
}

impl Outbox {
    pub(crate) fn in_dir(state: &StateDir) -> Self {
        Self {
            state: state.clone(),
            dir: state.file("spool"),
        }
    }

    /// Stores the beginning of an access.
    ///
    /// # Errors
    /// The line is not on disk.
    pub(crate) fn store(
        &self,
        person: &str,
        access: Value,
        at: Timestamp,
    ) -> Result<OutboxEntry, CliError> {
        let person = person.to_owned();
        self.state.make()?;
        let line = OutboxLine::Opened { person, at, access };
        self.begin(&line).map_err(|error| self.cannot_store(&error))
    }

    /// Stores the end of an access whose row is in Postgres.
    pub(crate) fn store_end(
        &self,
        person: &str,
        id: i64,
        end: Value,
        at: Timestamp,
    ) -> Result<(), CliError> {
        self.state.make()?;
        let person = person.to_owned();
        let keeping = || {
            let entry = self.begin(&OutboxLine::Stored { person, id })?;
            append(&entry.file, &OutboxLine::Ended { at, end })
        };
        keeping().map_err(|error| self.cannot_store(&error))
    }

    /// Appends the end of an access.
    pub(crate) fn end(
        &self,
        entry: &OutboxEntry,
        end: Value,
        at: Timestamp,
    ) -> Result<(), CliError> {
        append(&entry.file, &OutboxLine::Ended { at, end })
            .map_err(|error| self.cannot_store(&error))
    }

    /// Returns whether nothing is stored; reads only the directory.
    pub(crate) fn is_empty(&self) -> bool {
        fs::read_dir(&self.dir).map_or(true, |mut entries| entries.next().is_none())
    }

    /// Sends the accesses of `person`. Those of other people stay, for them to send.
    pub(crate) async fn replay(&self, person: &str, client: &mut Client) -> Result<(), PgError> {
        let mut paths: Vec<PathBuf> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        // The names sort by creation time.
        paths.sort();
        for path in paths {
            let Some((lines, _lock)) = finished(&path) else {
                continue;
            };
            if store_lines(person, client, &lines).await? {
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }

    fn begin(&self, line: &OutboxLine) -> io::Result<OutboxEntry> {
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let path = self.dir.join(format!("{}.jsonl", Uuid::now_v7()));
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        file_lock::exclusive(&file)?;
        append(&file, line)?;
        // Without this, a crash of the machine could lose the directory entry.
        File::open(&self.dir)?.sync_all()?;
        Ok(OutboxEntry {
            path,
            file: Arc::new(file),
        })
    }

    fn cannot_store(&self, error: &io::Error) -> CliError {
        let message = format!(
            "Postgres is unavailable, and the access cannot be stored in `{}` either, so vctl does not connect",
            self.dir.display()
        );
        CliError::new(Exit::Unavailable, message).caused_by(error)
    }
}

fn append(mut file: &File, line: &OutboxLine) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_all()
}

/// Returns the lines of an access that has ended, and the lock on its file.
fn finished(path: &Path) -> Option<(Vec<OutboxLine>, File)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(path)
        .ok()?;
    let tried = file_lock::try_exclusive(&file).ok()?;
    if tried == Tried::Busy {
        return None;
    }
    // Another process may have sent it before the lock was taken.
    if !path.exists() {
        return None;
    }
    let mut text = Vec::new();
    (&file).take(MOST).read_to_end(&mut text).ok()?;
    let lines = text.split(|&byte| byte == b'\n');
    // After a crash of the machine the last line may be incomplete; complete lines are valid.
    let lines = lines.map_while(|line| serde_json::from_slice(line).ok());
    let lines: Vec<OutboxLine> = lines.collect();
    let may_go_on = tried == Tried::Unsupported && lines.len() < 2 && !is_old(&file);
    (!may_go_on).then_some((lines, file))
}

/// Returns whether the file was last written days ago.
fn is_old(file: &File) -> bool {
    const DAYS: Duration = Duration::from_hours(7 * 24);
    let written = file.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > DAYS))
}

/// Sends the lines. Returns whether the file can be removed.
async fn store_lines(
    person: &str,
    client: &mut Client,
    lines: &[OutboxLine],
) -> Result<bool, PgError> {
    let ended = match lines.get(1) {
        Some(OutboxLine::Ended { at, end }) => {
            let mut end = end.clone();
            end["closed_at"] = Value::String(at.to_string());
            Some(end)
        }
        _ => None,
    };
    // In one transaction: after a partial write, the whole access would be sent again.
    let client: &mut vctl_common::pg::tokio_postgres::Client = client;
    let transaction = client.transaction().await?;
    let id = match lines.first() {
        Some(OutboxLine::Opened {
            person: whose,
            at,
            access,
        }) if whose == person => {
            let mut access = access.clone();
            access["opened_at"] = Value::String(at.to_string());
            ssh::access_store::open(&transaction, person, &access).await?
        }
        Some(OutboxLine::Stored { person: whose, id }) if whose == person => *id,
        // Not even the first line is complete: no certificate was offered.
        None => return Ok(true),
        Some(_) => return Ok(false),
    };
    if let Some(end) = ended {
        ssh::access_store::close(&transaction, person, id, &end).await?;
    }
    transaction.commit().await?;
    Ok(true)
}
