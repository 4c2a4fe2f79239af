//! The files that setup writes: their content, and those that do not have it yet.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::error::SetupError;
use super::host::Host;
use super::journal::{Journal, digest, unreadable};

/// A file with the content that it should have.
pub(super) struct Wanted {
    path: String,
    mode: u32,
    text: String,
    is_secret: bool,
    /// A text that a user wrote over that of setup stays.
    keeps_edits: bool,
}

/// A file to write.
#[derive(Debug)]
pub(super) struct NewText {
    pub(super) path: String,
    pub(super) mode: u32,
    pub(super) text: String,
    pub(super) replaces: bool,
    pub(super) is_secret: bool,
}

impl Wanted {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            mode: 0o644,
            text: text.to_owned(),
            is_secret: false,
            keeps_edits: false,
        }
    }

    /// Returns a file of this repository, which a user may edit after the setup.
    pub(super) fn shipped(path: &str, text: &str) -> Self {
        Self {
            keeps_edits: true,
            ..Self::new(path, text)
        }
    }

    pub(super) fn secret(path: &str, text: String) -> Self {
        Self {
            path: path.to_owned(),
            mode: 0o600,
            text,
            is_secret: true,
            keeps_edits: false,
        }
    }
}

/// Returns the files that do not have their content yet, and adds the paths of edited ones to `edited`.
pub(super) fn steps_of(
    host: &Host,
    files: Vec<Wanted>,
    journal: Option<&Journal>,
    edited: &mut Vec<String>,
) -> Result<Vec<NewText>, SetupError> {
    let mut steps = Vec::new();
    for file in files {
        let path = host.real(&file.path)?;
        let there = match fs::metadata(&path) {
            Ok(meta) if !meta.is_file() => {
                return Err(SetupError::NotAFile { path: file.path });
            }
            Ok(meta) => {
                let bytes = fs::read(&path).map_err(|source| unreadable(&path, source))?;
                Some((bytes, meta.permissions().mode()))
            }
            Err(_) => None,
        };
        if let Some((bytes, mode)) = &there {
            let of_others = mode & 0o077;
            if bytes == file.text.as_bytes() && (of_others == 0 || !file.is_secret) {
                continue;
            }
            let wrote = journal.and_then(|journal| journal.wrote(&file.path));
            if file.keeps_edits && wrote.is_some_and(|wrote| wrote != digest(bytes)) {
                edited.push(file.path);
                continue;
            }
        }
        steps.push(NewText {
            path: file.path,
            mode: file.mode,
            text: file.text,
            replaces: there.is_some(),
            is_secret: file.is_secret,
        });
    }
    Ok(steps)
}
