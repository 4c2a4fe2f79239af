//! Errors of the spool's writer.

use std::io;
use std::path::{Path, PathBuf};

use vctl_common::spool::{DirError, SpoolReadError};

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Nothing of the batch is stored: the caller keeps it and tries again.
    #[error("no space left to write `{}`", path.display())]
    Full {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// As `Full`.
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The batch and the earlier ones since the last `sync` are stored, but may not survive a crash of the
    /// machine. The next commit goes to a new segment.
    #[error("cannot make `{}` durable", path.display())]
    Sync {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a batch of {len} bytes is too large for one segment")]
    BatchTooLarge { len: u64 },
    #[error("cannot write a journal entry as JSON")]
    Journal {
        #[source]
        source: serde_json::Error,
    },
    #[error("host name `{host}` is longer than 256 bytes")]
    HostTooLong { host: String },
    #[error("`{}` is in use by another agent", dir.display())]
    InUse { dir: PathBuf },
    #[error("`{}` in the spool directory is not a file of the spool", path.display())]
    Foreign { path: PathBuf },
    #[error("cannot prepare the spool directory `{}`", path.display())]
    Prepare {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Dir(#[from] DirError),
    #[error(transparent)]
    Read(#[from] SpoolReadError),
}

impl SpoolError {
    pub(super) fn write(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path, source }
            }
            _ => Self::Write { path, source },
        }
    }

    pub(super) fn sync(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Sync { path, source }
    }
}
