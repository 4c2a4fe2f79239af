//! Accesses that could not be recorded while Postgres was away, kept on this machine until it is back.
//!
//! One file for each, of one JSON object per line: how it began, then how it ended; each line is on
//! disk before anything goes on. Its maker holds a lock on it, so that nobody hands in half of an
//! access that still goes on. Where the file system has no locks, only an access whose end is written, or that
//! began days ago, is handed in.

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

/// More than the two lines of an access ever have.
const MOST: u64 = 1 << 20;

/// An access that is kept here.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    /// Open as long as the access goes on, for its lock.
    file: Arc<File>,
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Kept {}

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A row that is not in Postgres yet.
    Opened {
        person: String,
        at: Timestamp,
        access: Value,
    },
    /// A row that is.
    Stored {
        person: String,
        id: i64,
    },
    Ended {
        at: Timestamp,
        end: Value,
    },
}

/// The directory.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    state: StateDir,
    dir: PathBuf,
}

impl Spool {
    pub(crate) fn in_dir(state: &StateDir) -> Self {
        Self {
            state: state.clone(),
            dir: state.file("spool"),
        }
    }

    /// Keeps an access that begins.
    ///
    /// # Errors
    /// It is not on disk.
    pub(crate) fn keep(
        &self,
        person: &str,
        access: Value,
        at: Timestamp,
    ) -> Result<Kept, CliError> {
        let person = person.to_owned();
        self.state.make()?;
        let line = Line::Opened { person, at, access };
        self.begin(&line).map_err(|error| self.cannot_keep(&error))
    }

    /// Keeps the end of an access whose row is in Postgres.
    pub(crate) fn keep_end(
        &self,
        person: &str,
        id: i64,
        end: Value,
        at: Timestamp,
    ) -> Result<(), CliError> {
        self.state.make()?;
        let person = person.to_owned();
        let keeping = || {
            let kept = self.begin(&Line::Stored { person, id })?;
            append(&kept.file, &Line::Ended { at, end })
        };
        keeping().map_err(|error| self.cannot_keep(&error))
    }

    /// Adds how an access ended.
    pub(crate) fn end(&self, kept: &Kept, end: Value, at: Timestamp) -> Result<(), CliError> {
        append(&kept.file, &Line::Ended { at, end }).map_err(|error| self.cannot_keep(&error))
    }

    /// Says whether there is nothing to hand in; looks no further than the directory.
    pub(crate) fn is_empty(&self) -> bool {
        fs::read_dir(&self.dir).map_or(true, |mut entries| entries.next().is_none())
    }

    /// Hands in what `person` left here. What somebody else did is theirs to hand in, and stays.
    pub(crate) async fn replay(&self, person: &str, client: &mut Client) -> Result<(), PgError> {
        let mut paths: Vec<PathBuf> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        // Their names are in the order in which they were made.
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

    fn begin(&self, line: &Line) -> io::Result<Kept> {
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
        // Or the file may be there after a crash of the machine, and not its name.
        File::open(&self.dir)?.sync_all()?;
        Ok(Kept {
            path,
            file: Arc::new(file),
        })
    }

    fn cannot_keep(&self, error: &io::Error) -> CliError {
        let message = format!(
            "Postgres is away, and the access cannot be kept in `{}` either, so it is not made",
            self.dir.display()
        );
        CliError::new(Exit::Unavailable, message).caused_by(error)
    }
}

fn append(mut file: &File, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_all()
}

/// Returns the lines of an access that no longer goes on, and the lock that keeps others from it.
fn finished(path: &Path) -> Option<(Vec<Line>, File)> {
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
    // Somebody may have handed it in between our looking and our locking.
    if !path.exists() {
        return None;
    }
    let mut text = Vec::new();
    (&file).take(MOST).read_to_end(&mut text).ok()?;
    let lines = text.split(|&byte| byte == b'\n');
    // A machine that crashed may have left the last line torn: what is whole is true.
    let lines = lines.map_while(|line| serde_json::from_slice(line).ok());
    let lines: Vec<Line> = lines.collect();
    let may_go_on = tried == Tried::Unsupported && lines.len() < 2 && !is_old(&file);
    (!may_go_on).then_some((lines, file))
}

/// Says whether a file was last written days ago.
fn is_old(file: &File) -> bool {
    const DAYS: Duration = Duration::from_hours(7 * 24);
    let written = file.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > DAYS))
}

/// Returns whether the file's work is done.
async fn store_lines(person: &str, client: &mut Client, lines: &[Line]) -> Result<bool, PgError> {
    let ended = match lines.get(1) {
        Some(Line::Ended { at, end }) => {
            let mut end = end.clone();
            end["closed_at"] = Value::String(at.to_string());
            Some(end)
        }
        _ => None,
    };
    // Both or neither: half of it would be handed in a second time.
    let client: &mut vctl_common::pg::tokio_postgres::Client = client;
    let transaction = client.transaction().await?;
    let id = match lines.first() {
        Some(Line::Opened {
            person: whose,
            at,
            access,
        }) if whose == person => {
            let mut access = access.clone();
            access["opened_at"] = Value::String(at.to_string());
            ssh::access_store::open(&transaction, person, &access).await?
        }
        Some(Line::Stored { person: whose, id }) if whose == person => *id,
        // Not even its beginning came to disk: nobody was let in.
        None => return Ok(true),
        Some(_) => return Ok(false),
    };
    if let Some(end) = ended {
        ssh::access_store::close(&transaction, person, id, &end).await?;
    }
    transaction.commit().await?;
    Ok(true)
}
