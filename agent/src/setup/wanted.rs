//! The files that setup writes: their content, and those that do not have it yet.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::error::SetupError;
use super::host::Host;
use super::journal::{Journal, digest, unreadable};
use super::saved::is_link;

/// What setup does with a file that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The host's own settings: they keep mode and owner, and a link stays a link.
    Settings,
    /// The agent itself replaces the file later. A link stays a link.
    Secret,
    /// A file of this repository, which a user may edit after the setup. A link to another file is replaced: that file
    /// belongs to another program.
    Shipped,
    /// As `Shipped`, but an edit does not stay.
    Snippet,
}

impl Kind {
    pub(super) fn is_secret(self) -> bool {
        self == Self::Secret
    }

    pub(super) fn follows_link(self) -> bool {
        matches!(self, Self::Settings | Self::Secret)
    }
}

/// A file with the content that it should have.
pub(super) struct Wanted {
    path: String,
    kind: Kind,
    text: String,
}

/// A file to write.
#[derive(Debug)]
pub(super) struct NewText {
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) replaces: bool,
}

impl NewText {
    /// Returns where the file is written, and an old one removed.
    pub(super) fn place(&self, host: &Host) -> Result<PathBuf, SetupError> {
        if self.kind.follows_link() {
            host.real(&self.path)
        } else {
            host.entry(&self.path)
        }
    }
}

impl Wanted {
    fn new(path: &str, kind: Kind, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            text: text.to_owned(),
        }
    }

    pub(super) fn settings(path: &str, text: &str) -> Self {
        Self::new(path, Kind::Settings, text)
    }

    pub(super) fn secret(path: &str, text: &str) -> Self {
        Self::new(path, Kind::Secret, text)
    }

    pub(super) fn shipped(path: &str, text: &str) -> Self {
        Self::new(path, Kind::Shipped, text)
    }

    pub(super) fn snippet(path: &str, text: &str) -> Self {
        Self::new(path, Kind::Snippet, text)
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
            Err(_) if file.kind.follows_link() && is_link(&host.entry(&file.path)?) => {
                return Err(SetupError::NoTarget { path: file.path });
            }
            Err(_) => None,
        };
        if let Some((bytes, mode)) = &there {
            let of_others = mode & 0o077;
            if bytes == file.text.as_bytes() && (of_others == 0 || !file.kind.is_secret()) {
                continue;
            }
            let wrote = journal.and_then(|journal| journal.wrote(&file.path));
            if file.kind == Kind::Shipped && wrote.is_some_and(|wrote| wrote != digest(bytes)) {
                edited.push(file.path);
                continue;
            }
        }
        steps.push(NewText {
            replaces: there.is_some(),
            path: file.path,
            kind: file.kind,
            text: file.text,
        });
    }
    Ok(steps)
}
