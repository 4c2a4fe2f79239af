//! Locks of files, where the file system has them.
//!
//! A home on NFS without its lock daemon, and some FUSE file systems, have none. A lock here only saves work or
//! orders writers of files that are replaced whole, so its absence is no error: callers go on, and each says
//! what holds then.

use std::fs::{File, TryLockError};
use std::io;

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    Taken,
    /// Another process has it.
    Busy,
    /// The file system has no locks.
    Unsupported,
}

/// Waits for the lock that excludes all others; returns whether there is such a thing.
pub fn exclusive(file: &File) -> io::Result<bool> {
    waited(file.lock())
}

/// Waits for the lock that excludes [`exclusive`] alone; returns whether there is such a thing.
pub fn shared(file: &File) -> io::Result<bool> {
    waited(file.lock_shared())
}

/// Takes the lock that excludes all others, when it is free.
pub fn try_exclusive(file: &File) -> io::Result<Tried> {
    match file.try_lock() {
        Ok(()) => Ok(Tried::Taken),
        Err(TryLockError::WouldBlock) => Ok(Tried::Busy),
        Err(TryLockError::Error(error)) if is_unsupported(&error) => Ok(Tried::Unsupported),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn waited(locked: io::Result<()>) -> io::Result<bool> {
    match locked {
        Ok(()) => Ok(true),
        Err(error) if is_unsupported(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    // `ENOTSUP` is `EOPNOTSUPP` on Linux and another number elsewhere. `EBADF`: NFS, of a file opened for reading.
    [
        libc::ENOLCK,
        libc::ENOTSUP,
        libc::EOPNOTSUPP,
        libc::ENOSYS,
        libc::EINVAL,
        libc::EBADF,
    ]
    .iter()
    .any(|&number| error.raw_os_error() == Some(number))
        || error.kind() == io::ErrorKind::Unsupported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_another_has_is_busy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (one, other) = (file.reopen().unwrap(), file.reopen().unwrap());
        assert!(exclusive(&one).unwrap());
        assert_eq!(try_exclusive(&other).unwrap(), Tried::Busy);
        drop(one);
        assert_eq!(try_exclusive(&other).unwrap(), Tried::Taken);
    }

    #[test]
    fn only_a_missing_kind_of_lock_is_passed_over() {
        for (number, passed) in [
            (libc::ENOLCK, true),
            (libc::EOPNOTSUPP, true),
            (libc::ENOSYS, true),
            (libc::EIO, false),
            (libc::EINTR, false),
        ] {
            let failed = Err(io::Error::from_raw_os_error(number));
            assert_eq!(waited(failed).is_ok(), passed, "{number}");
        }
    }
}
