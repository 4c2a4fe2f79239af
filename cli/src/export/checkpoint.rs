//! The checkpoint: a file with the position behind the last batch that was sent.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vctl_common::file_lock::{self, Tried};
use vctl_common::foreign_file::{self, Pipes};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;

/// A cursor has some hundred bytes per open session.
const MOST: u64 = 256 << 20;

const VERSION: u32 = 1;

/// The content of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<C> {
    version: u32,
    /// `sessions` or `accesses`.
    export: String,
    /// The database that the cursor belongs to.
    store: String,
    /// The selection of the first start.
    selection: Selection,
    cursor: C,
}

/// The options that select events, as text by their names.
pub(crate) type Selection = BTreeMap<String, String>;

/// The file of `--checkpoint`, locked for this process.
pub(crate) struct Checkpoint {
    path: PathBuf,
    /// Holds the lock. A second file, because the checkpoint itself is replaced.
    _lock: File,
}

/// A position that was read from a checkpoint.
pub(crate) struct Stored<C> {
    pub(crate) store: String,
    pub(crate) selection: Selection,
    pub(crate) cursor: C,
}

impl Checkpoint {
    /// Opens the checkpoint at `path`, which need not exist yet.
    ///
    /// # Errors
    /// Another export uses the file, or its directory cannot be written.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        // The owner of a directory could replace the file, but the mode says that this is not wanted.
        if fs::metadata(path).is_ok_and(|metadata| metadata.permissions().readonly()) {
            let message = format!("the checkpoint `{}` is read-only", path.display());
            let hint = format!("`chmod u+w {}`, or name another file", path.display());
            return Err(CliError::new(Exit::Permission, message).hint(hint));
        }
        let mut lock_path = path.as_os_str().to_owned();
        lock_path.push(".lock");
        let lock_path = PathBuf::from(lock_path);
        let lock = private_file::open_lock(&lock_path).map_err(|error| unwritable(path, &error))?;
        match file_lock::try_exclusive(&lock) {
            Ok(Tried::Taken | Tried::Unsupported) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Ok(Tried::Busy) => {
                let message = format!("another export uses the checkpoint `{}`", path.display());
                let hint = "end the other one, or give each export a file of its own";
                Err(CliError::new(Exit::TryAgain, message).hint(hint))
            }
            Err(error) => Err(unwritable(path, &error)),
        }
    }

    /// Reads the position; `None` if the file does not exist yet.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or belongs to another kind of export.
    pub(crate) fn read<C: DeserializeOwned>(
        &self,
        export: &str,
    ) -> Result<Option<Stored<C>>, CliError> {
        let bytes = match foreign_file::read(&self.path, MOST, Pipes::Refused) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let message = format!("cannot read the checkpoint `{}`", self.path.display());
                return Err(CliError::new(Exit::Failure, message).caused_by(&error));
            }
        };
        let head: Head = serde_json::from_slice(&bytes).map_err(|error| self.damaged(&error))?;
        if head.version != VERSION {
            let message = format!(
                "the checkpoint `{}` has version {}, and this vctl reads version {VERSION}",
                self.path.display(),
                head.version
            );
            return Err(CliError::new(Exit::Config, message).hint("use the vctl that wrote it"));
        }
        if head.export != export {
            let message = format!(
                "the checkpoint `{}` is of an export of {}, not of {export}",
                self.path.display(),
                if head.export == "sessions" {
                    "sessions"
                } else {
                    "accesses"
                }
            );
            let hint = "give each export a file of its own";
            return Err(CliError::new(Exit::Usage, message).hint(hint));
        }
        let content: Content<C> =
            serde_json::from_slice(&bytes).map_err(|error| self.damaged(&error))?;
        Ok(Some(Stored {
            store: content.store,
            selection: content.selection,
            cursor: content.cursor,
        }))
    }

    /// Replaces the file. It is on disk when this function returns.
    pub(crate) fn write(
        &self,
        export: &str,
        store: &str,
        selection: &Selection,
        cursor: &impl Serialize,
    ) -> Result<(), CliError> {
        let content = Content {
            version: VERSION,
            export: export.to_owned(),
            store: store.to_owned(),
            selection: selection.clone(),
            cursor,
        };
        private_file::replace(&self.path, |out| {
            serde_json::to_writer(&mut *out, &content)?;
            out.write_all(b"\n")
        })
        .map_err(|error| unwritable(&self.path, &error))
    }

    /// Returns the error about a checkpoint of another database.
    pub(crate) fn of_another_store(&self) -> CliError {
        let message = format!(
            "the checkpoint `{}` belongs to another central store, or to this one before it was restored",
            self.path.display()
        );
        let hint = "export from this store with another file, and with `--since` if only a part is missing; the \
                    receiver can drop repeated events by `event.id`";
        CliError::new(Exit::Config, message).hint(hint)
    }

    /// Returns the error about a checkpoint that was written with another value of an option.
    pub(crate) fn of_another_selection(
        &self,
        option: &str,
        stored: Option<&String>,
        given: Option<&String>,
    ) -> CliError {
        let value = |value: Option<&String>| match value {
            Some(value) if value.is_empty() => format!("`--{option}`"),
            Some(value) => format!("`--{option} {value}`"),
            None => format!("no `--{option}`"),
        };
        let message = format!(
            "the checkpoint `{}` was begun with {}, and this export has {}",
            self.path.display(),
            value(stored),
            value(given)
        );
        let hint = "use the same options, or another file for another selection";
        CliError::new(Exit::Usage, message).hint(hint)
    }

    /// Returns a time of the selection that was read.
    ///
    /// # Errors
    /// The value is not a time. An export without it would send more than was selected.
    pub(crate) fn time_of(
        &self,
        selection: &Selection,
        name: &str,
    ) -> Result<Option<SystemTime>, CliError> {
        let Some(text) = selection.get(name) else {
            return Ok(None);
        };
        let time: Result<Timestamp, _> = text.parse();
        let time = time.map_err(|error| self.damaged(&error))?;
        Ok(Some(time.into()))
    }

    fn damaged(&self, error: &dyn std::error::Error) -> CliError {
        let message = format!("the checkpoint `{}` is damaged", self.path.display());
        let hint = "restore the file, or remove it and export again with `--since`; the receiver can drop repeated \
                    events by `event.id`";
        CliError::new(Exit::Config, message)
            .caused_by(error)
            .hint(hint)
    }
}

/// The part that every version of the file has.
#[derive(Deserialize)]
struct Head {
    version: u32,
    export: String,
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    let message = format!("cannot write the checkpoint `{}`", path.display());
    let exit = if error.kind() == io::ErrorKind::PermissionDenied {
        Exit::Permission
    } else {
        Exit::Failure
    };
    let hint = "the directory must exist and be writable: the file is replaced as a whole";
    CliError::new(exit, message).caused_by(error).hint(hint)
}
