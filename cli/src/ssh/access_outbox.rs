//! Accesses that could not be recorded in Postgres, stored on this machine and sent later.
//!
//! One file per access, with one JSON object per line: its beginning, then its end. Each line is on disk before vctl
//! continues. The process that writes the file holds a lock on it, so that no other process sends an access that still
//! goes on. On a file system without locks, an access is sent only when it has its end, or is days old.
//!
//! Each file names its origin: the Vault server and the database that the access belongs to.
//! [`access_replay`](super::access_replay) sends it only to that database.

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

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::state_dir::StateDir;
use crate::login::CentreId;

/// Maximum size; an access has two short lines.
const MOST: u64 = 1 << 20;

/// Suffix of the files. Refused accesses are in a subdirectory.
const SUFFIX: &str = "jsonl";

/// Suffix of a file until its first line is on disk. Before that no certificate is offered.
const UNFINISHED: &str = "new";

/// Age of a file without an end, on a file system without locks, after which its access is over.
const LONGEST_ACCESS: Duration = Duration::from_hours(7 * 24);

/// Age of an unfinished file after which its process was killed. A disk takes seconds at most.
const LONGEST_BEGIN: Duration = Duration::from_hours(1);

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
pub(super) enum OutboxLine {
    /// The row is not in Postgres yet.
    Opened {
        person: String,
        /// Older versions of vctl did not write it.
        origin: Option<CentreId>,
        at: Timestamp,
        access: Value,
    },
    /// The row is in Postgres.
    Stored {
        person: String,
        /// Older versions of vctl did not write it.
        origin: Option<CentreId>,
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
    /// Where this process records accesses.
    origin: CentreId,
}

/// A file whose access has ended, locked.
pub(super) struct FinishedFile {
    pub(super) path: PathBuf,
    pub(super) content: FileContent,
    _lock: File,
}

/// The lines of a file.
#[derive(Debug)]
pub(super) enum FileContent {
    Lines(Vec<OutboxLine>),
    /// Not even the first line is complete: no certificate was offered.
    Incomplete,
    /// The first line is complete and cannot be read, or the file is too large.
    Unreadable,
}

impl Outbox {
    pub(crate) fn in_dir(state: &StateDir, origin: CentreId) -> Self {
        Self {
            state: state.clone(),
            dir: state.file("spool"),
            origin,
        }
    }

    pub(super) fn origin(&self) -> &CentreId {
        &self.origin
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
        let origin = Some(self.origin.clone());
        let line = OutboxLine::Opened {
            person,
            origin,
            at,
            access,
        };
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
        let (person, origin) = (person.to_owned(), Some(self.origin.clone()));
        let keeping = || {
            let entry = self.begin(&OutboxLine::Stored { person, origin, id })?;
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

    /// Returns the files of stored accesses, the oldest first; reads only the directory.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.with_suffix(SUFFIX)
    }

    fn with_suffix(&self, wanted: &str) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|suffix| suffix == wanted))
            .collect();
        // The names sort by creation time.
        paths.sort();
        paths
    }

    /// Moves a file out of the way, because Postgres or vctl never takes it. Returns the new path.
    pub(super) fn refuse(&self, path: &Path) -> io::Result<PathBuf> {
        let dir = self.dir.join("refused");
        make_dir(&dir)?;
        let to = dir.join(path.file_name().unwrap_or_default());
        fs::rename(path, &to)?;
        Ok(to)
    }

    fn begin(&self, line: &OutboxLine) -> io::Result<OutboxEntry> {
        self.create()?.begin(line)
    }

    fn create(&self) -> io::Result<UnfinishedFile> {
        make_dir(&self.dir)?;
        let path = self.dir.join(format!("{}.{UNFINISHED}", Uuid::now_v7()));
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(UnfinishedFile { path, file })
    }

    /// Removes unfinished files of processes that were killed.
    pub(super) fn remove_unfinished(&self) {
        for path in self.with_suffix(UNFINISHED) {
            if File::open(&path).is_ok_and(|file| is_older(&file, LONGEST_BEGIN)) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn cannot_store(&self, error: &io::Error) -> CliError {
        let message = format!(
            "Postgres is unavailable, and the access cannot be stored in `{}` either, so vctl does not connect",
            self.dir.display()
        );
        CliError::new(Exit::Unavailable, message).caused_by(error)
    }
}

/// A file that no other process reads yet. Another process could lock and remove a file with its final name between its
/// creation and its lock.
struct UnfinishedFile {
    path: PathBuf,
    file: File,
}

impl UnfinishedFile {
    /// Locks the file, writes its first line to disk, and gives it its final name.
    fn begin(self, line: &OutboxLine) -> io::Result<OutboxEntry> {
        let Self { path, file } = self;
        file_lock::exclusive(&file)?;
        append(&file, line)?;
        let finished = path.with_extension(SUFFIX);
        fs::rename(&path, &finished)?;
        // Without this, a crash of the machine could lose the directory entry.
        if let Some(dir) = finished.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(OutboxEntry {
            path: finished,
            file: Arc::new(file),
        })
    }
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn append(mut file: &File, line: &OutboxLine) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    file.write_all(&text)?;
    file.sync_all()
}

/// Locks and reads a file; `None` while its access goes on.
pub(super) fn finished(path: PathBuf) -> Option<FinishedFile> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(&path)
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
    let content = content_of(&text);
    let may_go_on = tried == Tried::Unsupported
        && !matches!(&content, FileContent::Lines(lines) if lines.len() > 1)
        && !is_older(&file, LONGEST_ACCESS);
    (!may_go_on).then_some(FinishedFile {
        path,
        content,
        _lock: file,
    })
}

/// Reads the first bytes of a file, at most `MOST`.
fn content_of(text: &[u8]) -> FileContent {
    // After a crash of the machine the last line may be incomplete; complete lines are valid.
    let lines = text.split(|&byte| byte == b'\n');
    let lines: Vec<OutboxLine> = lines
        .map_while(|line| serde_json::from_slice(line).ok())
        .collect();
    if !lines.is_empty() {
        FileContent::Lines(lines)
    } else if text.contains(&b'\n') || text.len() as u64 >= MOST {
        FileContent::Unreadable
    } else {
        FileContent::Incomplete
    }
}

/// Returns whether the file was last written longer ago than this.
fn is_older(file: &File, limit: Duration) -> bool {
    let written = file.metadata().and_then(|metadata| metadata.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox(dir: &tempfile::TempDir) -> Outbox {
        let origin =
            serde_json::json!({"addr": "https://vault", "namespace": null, "database": "d"});
        let origin = serde_json::from_value(origin).unwrap();
        Outbox::in_dir(&StateDir::at(dir.path()), origin)
    }

    #[test]
    fn a_file_is_not_removed_before_its_first_line_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = outbox(&dir);
        // Another process looks for files at each moment.
        let other = || outbox.files().into_iter().find_map(finished);
        let remove_what_is_incomplete = || {
            outbox.remove_unfinished();
            if let Some(file) = other() {
                assert!(matches!(file.content, FileContent::Incomplete));
                fs::remove_file(file.path).unwrap();
            }
        };
        let created = outbox.create().unwrap();
        remove_what_is_incomplete();
        let line = OutboxLine::Stored {
            person: "p".to_owned(),
            origin: None,
            id: 7,
        };
        let entry = created.begin(&line).unwrap();
        remove_what_is_incomplete();
        let end = serde_json::json!({"result": "ok"});
        outbox.end(&entry, end, Timestamp::UNIX_EPOCH).unwrap();
        drop(entry);
        let Some(FileContent::Lines(lines)) = other().map(|file| file.content) else {
            panic!("the access is lost");
        };
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn an_unfinished_file_of_a_killed_process_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = outbox(&dir);
        let UnfinishedFile { path, file } = outbox.create().unwrap();
        outbox.remove_unfinished();
        assert!(path.exists());
        let written = file.metadata().unwrap().modified().unwrap();
        file.set_modified(written - LONGEST_BEGIN * 2).unwrap();
        outbox.remove_unfinished();
        assert!(!path.exists());
    }

    #[test]
    fn only_an_incomplete_first_line_counts_as_nothing() {
        let stored = br#"{"stored":{"person":"p","id":7}}"#;
        let lines = |text: &[u8]| match content_of(text) {
            FileContent::Lines(lines) => Some(lines.len()),
            _ => None,
        };
        assert_eq!(lines(&[stored, &b"\n"[..]].concat()), Some(1));
        assert_eq!(
            lines(&[stored, &b"\n{\"ended\":{\"at"[..]].concat()),
            Some(1)
        );
        let most = usize::try_from(MOST).unwrap();
        for text in [&b"{\"later\":{}}\n"[..], b"\n", &vec![b'x'; most]] {
            assert!(matches!(content_of(text), FileContent::Unreadable));
        }
        for text in [&b""[..], br#"{"opened":{"pers"#] {
            assert!(matches!(content_of(text), FileContent::Incomplete));
        }
    }
}
