//! The directories whose `.vctl/config.yaml` the user trusts, in `~/.vctl/trusted`.
//!
//! A record has the path of the file and the SHA-256 of its bytes: a changed file, or the same file in
//! another place, is not trusted.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use vctl_common::config::{self, FileText, Origin, Source};
use vctl_common::hex;

use super::keys::{TABLE, defaults};
use super::problem::{failure, invalid};
use super::{allowed_keys, directory_file};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::state_dir::StateDir;

/// The file of a directory. It is read once, so that the printed, hashed and recorded text is the same.
pub(crate) struct DirectoryFile {
    /// The real path of the directory, followed by `.vctl/config.yaml`. The file itself may be a link: the
    /// trust is for this directory only.
    pub(crate) path: PathBuf,
    text: FileText,
}

/// One key that a directory's file sets.
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    /// The setting as YAML in ASCII, where every character is visible.
    pub(crate) line: String,
    pub(crate) source: Source,
    /// Whether the setting is refused until the user trusts the file.
    pub(crate) needs_trust: bool,
}

impl DirectoryFile {
    /// Reads the file of `directory`; `None` if there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or another user can write it.
    pub(crate) fn read(directory: &Path) -> Result<Option<Self>, CliError> {
        let directory = fs::canonicalize(directory).map_err(|error| {
            let message = format!("cannot read directory `{}`", directory.display());
            CliError::new(Exit::NotFound, message).caused_by(&error)
        })?;
        let file = directory_file::file_of(&directory);
        let text = config::read(&file).map_err(|error| failure(&error))?;
        Ok(text.map(|text| Self {
            path: file.path,
            text,
        }))
    }

    /// Returns the keys that the file sets, in the order of the table.
    ///
    /// # Errors
    /// All problems that remain when the file is trusted.
    pub(crate) fn settings(&self) -> Result<Vec<Setting>, CliError> {
        let path = Path::new(directory_file::DIRECTORY_FILE);
        let (loaded, problems) = TABLE.merge_text(defaults(), path, Origin::Trusted, &self.text);
        if !problems.is_empty() {
            return Err(invalid(&problems));
        }
        let lines = loaded.effective_lines().into_iter().zip(TABLE.keys);
        let set = lines.filter(|((_, source), _)| **source != Source::Default);
        let settings = set.map(|((line, source), key)| Setting {
            key: key.name,
            line: line.trim_end().to_owned(),
            source: source.clone(),
            needs_trust: allowed_keys::MAY.iter().all(|(name, _)| *name != key.name),
        });
        Ok(settings.collect())
    }

    fn digest(&self) -> String {
        digest(&self.text.bytes)
    }
}

/// The state of a trusted file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrustState {
    Trusted,
    Changed,
    /// There is no readable file.
    Gone,
}

/// The records of one user.
pub(crate) struct TrustedFiles {
    state: StateDir,
    directory: PathBuf,
}

struct TrustRecord {
    path: PathBuf,
    digest: String,
}

impl TrustedFiles {
    pub(crate) fn find() -> Self {
        let state = StateDir::find();
        let directory = state.file("trusted");
        Self { state, directory }
    }

    pub(crate) fn add(&self, file: &DirectoryFile) -> Result<(), CliError> {
        self.state.make()?;
        let mut text = format!("{}  ", file.digest()).into_bytes();
        text.extend_from_slice(file.path.as_os_str().as_bytes());
        let written = match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => private_file::replace(&self.record_file(&file.path), |out| out.write_all(&text)),
        };
        written.map_err(|error| {
            let message = format!("cannot write to `{}`", self.directory.display());
            CliError::new(Exit::Failure, message).caused_by(&error)
        })
    }

    /// Removes the record of a directory, and returns whether there was one.
    pub(crate) fn remove(&self, directory: &Path) -> Result<bool, CliError> {
        // A missing directory has no real path; the recorded path is used then.
        let directory = fs::canonicalize(directory).or_else(|_| std::path::absolute(directory));
        let directory = directory.map_err(|error| {
            CliError::new(Exit::NotFound, "cannot find the directory").caused_by(&error)
        })?;
        private_file::remove(&self.record_file(&directory.join(directory_file::DIRECTORY_FILE)))
    }

    /// Returns the recorded files in the order of their paths.
    pub(crate) fn all(&self) -> Result<Vec<(PathBuf, TrustState)>, CliError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if private_file::is_absence(&error) => return Ok(Vec::new()),
            Err(error) => {
                let message = format!("cannot read `{}`", self.directory.display());
                return Err(CliError::new(Exit::Failure, message).caused_by(&error));
            }
        };
        let records = entries.filter_map(|entry| TrustRecord::read(&entry.ok()?.path()));
        let mut all: Vec<_> = records
            .map(|record| {
                let state = record.state();
                (record.path, state)
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    fn trusts(&self, path: &Path, bytes: &[u8]) -> bool {
        TrustRecord::read(&self.record_file(path))
            .is_some_and(|record| record.path == path && record.digest == digest(bytes))
    }

    /// Returns the file of a record. Each path has its own, so that concurrent commands do not lose records.
    fn record_file(&self, path: &Path) -> PathBuf {
        self.directory.join(digest(path.as_os_str().as_bytes()))
    }
}

impl TrustRecord {
    /// Reads a record `SHA256  PATH`, in the format of sha256sum.
    fn read(path: &Path) -> Option<Self> {
        let bytes = private_file::read(path).ok()?;
        let (digest, path) = bytes.expose().split_at_checked(64)?;
        let path = path.strip_prefix(b"  ")?.to_owned();
        Some(Self {
            path: std::ffi::OsString::from_vec(path).into(),
            digest: String::from_utf8(digest.to_owned()).ok()?,
        })
    }

    fn state(&self) -> TrustState {
        let directory = self.path.parent().and_then(Path::parent);
        let file = directory.map(DirectoryFile::read);
        match file {
            Some(Ok(Some(file))) if file.path != self.path => TrustState::Gone,
            Some(Ok(Some(file))) if file.digest() == self.digest => TrustState::Trusted,
            Some(Ok(Some(_))) => TrustState::Changed,
            _ => TrustState::Gone,
        }
    }
}

/// Returns whether the user trusts these bytes as the file of the working directory; false if that cannot
/// be determined.
pub(super) fn of_working_directory(bytes: &[u8]) -> bool {
    let Ok(directory) = std::env::current_dir() else {
        return false;
    };
    TrustedFiles::find().trusts(&directory.join(directory_file::DIRECTORY_FILE), bytes)
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}
