//! The source of a value.

use std::fmt;
use std::path::{Path, PathBuf};

/// The author of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The user of the program, or the administrator of the machine.
    Own,
    /// The author of the working directory; the user has read this file and trusts it.
    Trusted,
    /// The author of the working directory.
    Directory,
}

/// Source of one key's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Default,
    File {
        path: PathBuf,
        line: u64,
        origin: Origin,
    },
    Env(String),
    Flag(String),
}

impl Source {
    /// Orders values from files by file and line, before all others.
    pub(super) fn place(&self, paths: &[&Path]) -> (usize, u64) {
        match self {
            Self::File { path, line, .. } => {
                let file = paths.iter().position(|known| known == path);
                (file.unwrap_or(paths.len()), *line)
            }
            Self::Default | Self::Env(_) | Self::Flag(_) => (usize::MAX, 0),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, .. } => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}
