//! A file with the token, for other programs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use vctl_common::secret::Secret;

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::private_file::Access;

/// A file, and its permissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sink {
    pub(crate) path: PathBuf,
    pub(crate) access: Access,
}

impl Sink {
    /// Writes the token without a newline.
    pub(crate) fn write(&self, token: &Secret<String>) -> Result<(), CliError> {
        let write = || {
            if let Some(dir) = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
                make_directory(dir)?;
            }
            private_file::replace_for(&self.path, self.access, |out| {
                out.write_all(token.expose().as_bytes())
            })
        };
        write().map_err(|error| {
            let message = format!("cannot write the token to `{}`", self.path.display());
            CliError::new(Exit::Failure, message).caused_by(&error)
        })
    }

    /// Removes an invalid token, so that a reader does not use it.
    pub(crate) fn remove(&self) -> Result<(), CliError> {
        // Only a regular file is removed.
        let is_file = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.is_file());
        match if is_file {
            fs::remove_file(&self.path)
        } else {
            Ok(())
        } {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let message = format!(
                    "cannot remove the invalid token in `{}`",
                    self.path.display()
                );
                Err(CliError::new(Exit::Failure, message).caused_by(&error))
            }
            _ => Ok(()),
        }
    }
}

/// Creates missing directories with mode 0700.
fn make_directory(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn sink(path: PathBuf, mode: u32) -> Sink {
        let access = Access {
            mode,
            ..Access::OWN
        };
        Sink { path, access }
    }

    #[test]
    fn a_sink_has_only_the_token_and_the_given_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("sink");
        let sink = sink(path.clone(), 0o640);
        sink.write(&Secret::new("hvs.1".to_owned())).unwrap();
        sink.write(&Secret::new("hvs.2".to_owned())).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"hvs.2");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        let parent = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(parent.permissions().mode() & 0o777, 0o700);
        sink.remove().unwrap();
        sink.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn only_a_regular_file_is_written_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("precious");
        fs::write(&target, "mine").unwrap();
        let link = dir.path().join("link");
        symlink(&target, &link).unwrap();
        let sink = sink(link.clone(), 0o600);
        assert!(sink.write(&Secret::new("t".to_owned())).is_err());
        sink.remove().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"mine");
    }
}
