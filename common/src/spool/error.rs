//! The error of a spool that cannot be read.

use std::io;
use std::path::{Path, PathBuf};

use super::dir::DirError;
use super::header::VERSION;

/// The spool cannot be read at all. Damage inside its files is not an error.
#[derive(Debug, thiserror::Error)]
pub enum SpoolReadError {
    #[error(transparent)]
    Dir(#[from] DirError),
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` has format {version}, but this vctl reads formats up to {VERSION}", path.display())]
    Newer { path: PathBuf, version: u32 },
}

impl SpoolReadError {
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Read { path, source }
    }

    pub(super) fn newer(path: &Path, version: u32) -> Self {
        let path = path.to_owned();
        Self::Newer { path, version }
    }
}
