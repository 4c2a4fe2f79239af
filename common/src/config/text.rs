//! A configuration file, and reading its bytes after checking that it may be read.

use std::borrow::Cow;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::source::Origin;
use crate::foreign_file;

/// Far more than all keys need. A device or a log given by mistake must not fill the memory.
const FILE_MAX: u64 = 1 << 20;

/// A file with settings.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    pub path: PathBuf,
    pub need: Need,
    /// Decides about the bytes that are parsed: a second read could return others.
    pub origin: fn(&Path, bytes: &[u8]) -> Origin,
    /// Returns why the opened file cannot be trusted, as the end of a sentence that its path
    /// begins.
    pub distrust: fn(&Path, &Metadata) -> Option<&'static str>,
}

/// Whether a program continues without the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The user named the file, so it must exist.
    Named,
    /// The file may be absent; if it exists, it must be readable.
    IfThere,
    /// The file may be absent or unreadable; [`Loaded::passed_over`](super::Loaded::passed_over) names an unreadable one.
    IfReadable,
}

/// Content of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileText {
    pub bytes: Vec<u8>,
}

impl FileText {
    /// Returns the text, and whether it is complete: bytes that are not UTF-8 are replaced.
    pub(super) fn decoded(&self) -> (Cow<'_, str>, bool) {
        let bytes = foreign_file::without_mark(&self.bytes);
        let text = String::from_utf8_lossy(bytes);
        let is_utf8 = matches!(text, Cow::Borrowed(_));
        (text, is_utf8)
    }

    pub(super) fn is_utf16(&self) -> bool {
        self.bytes.starts_with(b"\xff\xfe") || self.bytes.starts_with(b"\xfe\xff")
    }
}

/// Returns the content of the file; `None` when it does not exist and may be absent.
///
/// # Errors
/// The file cannot be read or trusted.
pub fn read(config: &ConfigFile) -> Result<Option<FileText>, ConfigError> {
    let path = &config.path;
    let unreadable = |source| ConfigError::Unreadable {
        path: path.clone(),
        source,
    };
    let absent = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        ) && config.need != Need::Named
    };
    let file = match OpenOptions::new()
        .read(true)
        // Opening a FIFO without this would block the program.
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    let odd = if !metadata.is_file() {
        Some("is not a regular file")
    } else if metadata.len() > FILE_MAX {
        Some("is larger than 1 MiB")
    } else {
        None
    };
    match odd {
        Some(why) if config.need == Need::IfReadable => {
            return Err(unreadable(io::Error::other(format!("it {why}"))));
        }
        odd => {
            let why = odd.or_else(|| (config.distrust)(path, &metadata));
            if let Some(why) = why {
                return Err(ConfigError::Unsafe {
                    path: path.clone(),
                    why,
                });
            }
        }
    }
    let mut bytes = Vec::new();
    let mut file = file.take(FILE_MAX);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(FileText { bytes }))
}
