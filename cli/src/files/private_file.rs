//! Private files of the user, written atomically. Only regular files are read or replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};
use serde::Serializer;
use vctl_common::atomic_file::{Durability, NewFile, Unfinished};
use vctl_common::secret::Secret;

use crate::error::CliError;
use crate::exit_code::Exit;

/// Maximum size of a file, except the cache of hosts.
const MOST: u64 = 1 << 16;

/// Permissions, owner and group of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) mode: u32,
    /// User id; `None` keeps the default, also for the group.
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
}

impl Access {
    pub(crate) const OWN: Self = Self {
        mode: 0o600,
        owner: None,
        group: None,
    };
}

/// Creates or replaces `path` with the output of `write`, readable only by its owner.
///
/// # Errors
/// The previous file is unchanged.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    replace_as(path, Access::OWN, Durability::Synced, write)
}

/// Like [`replace`], without waiting for the disk: after a crash of the machine, the file may be incomplete.
pub(crate) fn replace_unsynced(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    replace_as(path, Access::OWN, Durability::Unsynced, write)
}

/// Like [`replace`], with the permissions of `access`.
pub(crate) fn replace_for(
    path: &Path,
    access: Access,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    replace_as(path, access, Durability::Synced, write)
}

fn replace_as(
    path: &Path,
    access: Access,
    durability: Durability,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        // A link could lead anywhere, and a device or pipe is not ours to replace.
        Ok(metadata) if !metadata.is_file() => {
            return Err(io::Error::other("the existing file is not a regular file"));
        }
        Ok(_) => {}
        Err(error) if is_absence(&error) => {}
        Err(error) => return Err(error),
    }
    let new = NewFile {
        durability,
        // Several processes of one user may write at once.
        unfinished: Unfinished::NewName,
        mode: Some(access.mode),
        owner: access.owner,
        group: access.group,
    };
    new.replace(path, write)
}

/// The reason why a private file was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the file does not exist")]
    Absent,
    #[error("not a regular file")]
    NoFile,
    #[error("the file belongs to another user")]
    Foreign,
    #[error("other users can write the file")]
    Writable,
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Returns the content of a file that belongs to this user and that no other user can write.
pub(crate) fn read(path: &Path) -> Result<Secret<Vec<u8>>, ReadError> {
    read_at_most(path, MOST)
}

/// Like [`read`], for a file of up to `most` bytes.
pub(crate) fn read_at_most(path: &Path, most: u64) -> Result<Secret<Vec<u8>>, ReadError> {
    let mut options = OpenOptions::new();
    // A link could lead to any file, and a pipe would block.
    options
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    let file = match options.open(path) {
        Ok(file) => file,
        Err(error) if is_absence(&error) => return Err(ReadError::Absent),
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => {
            return Err(ReadError::NoFile);
        }
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadError::NoFile);
    }
    if metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(ReadError::Foreign);
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(ReadError::Writable);
    }
    let mut text = Vec::new();
    file.take(most + 1).read_to_end(&mut text)?;
    if text.len() as u64 > most {
        return Err(ReadError::TooLarge(most));
    }
    Ok(Secret::new(text))
}

/// Returns whether the error means that there is no file at the path.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Removes a file, and returns whether there was one.
pub(crate) fn remove(path: &Path) -> Result<bool, CliError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => {
            let message = format!("cannot remove `{}`", path.display());
            Err(CliError::new(Exit::Failure, message).caused_by(&error))
        }
    }
}

/// Serializes a secret in plain text, for a private file. This is the only such place.
pub(crate) fn exposed<S: Serializer>(
    secret: &Secret<String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// Opens or creates a lock file.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn a_file_is_private_and_replaced_atomically() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        replace(&path, |out| out.write_all(b"first")).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let failed = replace(&path, |out| {
            out.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        replace(&path, |out| out.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(dir.path()), 1);
    }

    #[test]
    fn a_file_that_other_users_can_write_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        assert!(matches!(read(&path), Err(ReadError::Absent)));
        replace(&path, |out| out.write_all(b"secret")).unwrap();
        assert_eq!(read(&path).unwrap().expose(), b"secret");
        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(read(&link), Err(ReadError::NoFile)));
        assert!(matches!(read(dir.path()), Err(ReadError::NoFile)));
        fs::set_permissions(&path, Permissions::from_mode(0o660)).unwrap();
        assert!(matches!(read(&path), Err(ReadError::Writable)));
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(read(&pipe), Err(ReadError::NoFile)));
    }

    #[test]
    fn a_file_has_its_mode_before_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sink");
        let access = Access {
            mode: 0o640,
            ..Access::OWN
        };
        replace_for(&path, access, |out| out.write_all(b"t")).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn only_regular_files_are_read_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "precious").unwrap();
        let link = dir.path().join("link");
        symlink(&target, &link).unwrap();
        symlink(dir.path().join("nowhere"), dir.path().join("dangling")).unwrap();
        fs::create_dir(dir.path().join("directory")).unwrap();
        for name in ["link", "dangling", "directory"] {
            assert!(
                replace(&dir.path().join(name), |out| out.write_all(b"x")).is_err(),
                "{name}"
            );
        }
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(names(dir.path()), 4);
    }
}
