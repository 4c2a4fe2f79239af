//! The journal of a setup: each change, and the old content of each replaced file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vctl_common::atomic_file::{Durability, NewFile, Unfinished};
use vctl_common::hex;

use super::error::SetupError;
use super::host::{Host, JOURNAL};
use super::saved::Saved;

const VERSION: u32 = 1;

/// Paths are those of the host, also in the tree of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    pub(super) version: u32,
    /// False while a setup runs, and after one that was interrupted.
    pub(super) complete: bool,
    /// Digest of the last applied enrolment: its wrapped secret id can be used only once.
    pub(super) enrolment: Option<String>,
    /// Digests of the enrolments before it.
    #[serde(default)]
    pub(super) earlier_enrolments: Vec<String>,
    pub(super) changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Change {
    Directory {
        path: String,
    },
    File {
        path: String,
        before: Option<Before>,
        wrote: String,
        /// The agent itself replaces the file later.
        is_secret: bool,
    },
    PamLine {
        service: String,
        path: String,
        before: Option<Before>,
        wrote: String,
    },
    Unit {
        name: String,
        /// The unit ran before the setup, so undoing the setup does not stop it.
        #[serde(default)]
        was_active: bool,
        /// The unit was enabled before the setup, so undoing the setup does not disable it.
        #[serde(default)]
        was_enabled: bool,
    },
}

/// A file or a link before the setup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Before {
    /// Name of the copy beside the journal; it contains the target of a link.
    pub(super) copy: String,
    /// Setup replaced or removed a link, and did not follow it.
    #[serde(default)]
    pub(super) is_link: bool,
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
}

impl Journal {
    pub(super) fn load(host: &Host) -> Result<Option<Self>, SetupError> {
        let path = path(host);
        let wrong = |why: String| SetupError::Journal {
            path: path.display().to_string(),
            why,
        };
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(wrong(error.to_string())),
        };
        let journal: Self =
            serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if journal.version != VERSION {
            return Err(wrong(format!(
                "its version is {}, and this vctl-agent knows version {VERSION}",
                journal.version
            )));
        }
        Ok(Some(journal))
    }

    /// Writes the journal, and creates its directory first; that is a change too.
    pub(super) fn store(&mut self, host: &Host) -> Result<(), SetupError> {
        self.version = VERSION;
        if create_directory(&host.at("/var/lib/vctl"), 0o700)? {
            let path = "/var/lib/vctl".to_owned();
            self.changes.insert(0, Change::Directory { path });
        }
        create_directory(&host.at(JOURNAL), 0o700)?;
        let text = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_private(&path(host), &text)
    }

    /// Copies a file or a link that will be replaced; `None` if it does not exist.
    pub(super) fn keep(host: &Host, path: &Path) -> Result<Option<Before>, SetupError> {
        let saved = Saved::read(path).map_err(|source| unreadable(path, source))?;
        let Some(saved) = saved else { return Ok(None) };
        Ok(Some(Before {
            copy: new_copy(host, &saved.bytes)?,
            is_link: saved.is_link,
            mode: saved.mode,
            owner: saved.owner,
            group: saved.group,
        }))
    }

    /// Notes that an enrolment is applied.
    pub(super) fn note_enrolment(&mut self, digest: String) {
        let last = self.enrolment.replace(digest);
        let digest = self.enrolment.as_ref();
        let earlier = last.filter(|last| Some(last) != digest);
        self.earlier_enrolments.extend(earlier);
    }

    /// Returns the digest of the text that setup wrote last to a file.
    pub(super) fn wrote(&self, path: &str) -> Option<&str> {
        match self.changes.get(self.file(path)?) {
            Some(Change::File { wrote, .. }) => Some(wrote),
            _ => None,
        }
    }

    /// Returns the change of a file, if there is one already.
    pub(super) fn file(&self, path: &str) -> Option<usize> {
        let is_of = |change: &Change| matches!(change, Change::File { path: of, .. } if of == path);
        self.changes.iter().position(is_of)
    }
}

/// Writes a copy beside the journal, and returns its name. The copies of a used enrolment stay after a setup that failed,
/// so the number of changes is no free name.
fn new_copy(host: &Host, bytes: &[u8]) -> Result<String, SetupError> {
    let directory = host.at(JOURNAL);
    let mut number = 0;
    let (name, path, mut file) = loop {
        let name = format!("{number}.before");
        let path = directory.join(&name);
        let mut options = OpenOptions::new();
        match options.write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => break (name, path, file),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(unwritable(&path, source)),
        }
    };
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|source| unwritable(&path, source))?;
    // The new name itself is synced with the journal, which is in the same directory and names it.
    Ok(name)
}

/// Removes journal and copies.
pub(super) fn remove(host: &Host) -> Result<(), SetupError> {
    let directory = host.at(JOURNAL);
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unwritable(&directory, error)),
        _ => Ok(()),
    }
}

impl Before {
    /// Returns the file or link with the content of its copy.
    pub(super) fn saved(&self, host: &Host) -> Result<Saved, SetupError> {
        let copy = copy(host, self);
        let bytes = fs::read(&copy).map_err(|source| unreadable(&copy, source))?;
        Ok(Saved {
            bytes,
            is_link: self.is_link,
            mode: self.mode,
            owner: self.owner,
            group: self.group,
        })
    }
}

pub(super) fn copy(host: &Host, before: &Before) -> PathBuf {
    // A name from the journal stays in its directory.
    let name = Path::new(&before.copy).file_name().unwrap_or_default();
    host.at(JOURNAL).join(name)
}

/// Creates a directory; returns false if it exists.
pub(super) fn create_directory(path: &Path, mode: u32) -> Result<bool, SetupError> {
    if path.is_dir() {
        return Ok(false);
    }
    fs::DirBuilder::new()
        .mode(mode)
        .create(path)
        // The umask does not decide.
        .and_then(|()| {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
        })
        .map_err(|source| unwritable(path, source))?;
    Ok(true)
}

pub(super) fn digest(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes))
}

pub(super) fn unwritable(path: &Path, source: io::Error) -> SetupError {
    SetupError::Write {
        path: path.display().to_string(),
        source,
    }
}

pub(super) fn unreadable(path: &Path, source: io::Error) -> SetupError {
    SetupError::Read {
        path: path.display().to_string(),
        source,
    }
}

fn path(host: &Host) -> PathBuf {
    host.at(JOURNAL).join("journal.json")
}

pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), SetupError> {
    NewFile::private(Durability::Synced, Unfinished::OneName)
        .replace(path, |out| out.write_all(bytes))
        .map_err(|source| unwritable(path, source))
}
