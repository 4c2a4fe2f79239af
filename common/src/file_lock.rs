//! Locks of files, on file systems that support them.
//!
//! A home on NFS without a lock daemon and some FUSE file systems have no locks. A lock here only
//! saves work or orders the writers of files that are replaced as a whole, so a missing lock is not
//! an error. Each caller continues and documents the effect.

use std::fs::{File, TryLockError};
use std::io;

/// Result of an attempt to lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    Taken,
    /// Another process holds the lock.
    Busy,
    /// The file system has no locks.
    Unsupported,
}

/// Waits for the exclusive lock; returns false when the file system has no locks.
pub fn exclusive(file: &File) -> io::Result<bool> {
    waited(file.lock())
}

/// Waits for the lock that excludes only [`exclusive`]; returns false when the file system has no
/// locks.
pub fn shared(file: &File) -> io::Result<bool> {
    waited(file.lock_shared())
}

/// Takes the exclusive lock if it is free.
pub fn try_exclusive(file: &File) -> io::Result<Tried> {
    tried(file.try_lock())
}

/// Takes the lock that excludes only [`exclusive`] if it is free.
pub fn try_shared(file: &File) -> io::Result<Tried> {
    tried(file.try_lock_shared())
}

fn tried(locked: Result<(), TryLockError>) -> io::Result<Tried> {
    match locked {
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
    // `ENOTSUP` is `EOPNOTSUPP` on Linux and another number elsewhere. NFS returns `EBADF` for a
    // file opened for reading.
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
        assert_eq!(try_shared(&other).unwrap(), Tried::Busy);
        drop(one);
        assert_eq!(try_exclusive(&other).unwrap(), Tried::Taken);
    }

    #[test]
    fn a_shared_lock_excludes_only_an_exclusive_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (one, other) = (file.reopen().unwrap(), file.reopen().unwrap());
        assert_eq!(try_shared(&one).unwrap(), Tried::Taken);
        assert_eq!(try_shared(&other).unwrap(), Tried::Taken);
        drop(one);
        let third = file.reopen().unwrap();
        assert_eq!(try_exclusive(&third).unwrap(), Tried::Busy);
        drop(other);
        assert_eq!(try_exclusive(&third).unwrap(), Tried::Taken);
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
