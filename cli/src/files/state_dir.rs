//! The state directory `~/.vctl`: files of one user on one machine.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::home;

/// The directory. Only its owner can read it.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// The reason why the directory cannot be used.
    error: Option<CliError>,
}

impl StateDir {
    /// Finds the directory, and removes the permissions of other users. It may be missing: a user with a token
    /// in the environment needs no home.
    ///
    /// A link, another kind of file, or a directory of another user counts as missing: a token in it would
    /// belong to that user. [`StateDir::make`] then returns the error.
    pub(crate) fn find() -> Self {
        let home = home::current();
        let Some(dir) = home.dir else {
            return Self::unusable_because(no_home(home.instead));
        };
        let found = Self::at(&dir.join(".vctl"));
        match found.check() {
            Ok(()) => found,
            Err(error) => Self::unusable_because(error),
        }
    }

    /// Returns a directory that does not exist.
    fn unusable_because(error: CliError) -> Self {
        Self {
            path: PathBuf::from("/nonexistent/.vctl"),
            error: Some(error),
        }
    }

    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            error: None,
        }
    }

    /// Creates the directory if it is missing.
    pub(crate) fn make(&self) -> Result<(), CliError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => Ok(()),
            // Another process may have created it just now.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check(),
            Err(error) => Err(self
                .unusable(&error)
                .hint("set `VCTL_HOME` to a directory of your own")),
        }
    }

    fn check(&self) -> Result<(), CliError> {
        let path = &self.path;
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(self.unusable(&error)),
        };
        if !metadata.is_dir() {
            let message = format!("`{}` is not a directory", path.display());
            let hint = "vctl stores tokens only in a real directory of your own, not behind a link: move it away";
            return Err(CliError::new(Exit::Config, message).hint(hint));
        }
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            let message = format!("`{}` belongs to another user", path.display());
            let hint = format!(
                "an earlier `sudo` may have created it: `sudo chown -R \"$USER\" {}`; from now on use `sudo -H`",
                path.display()
            );
            return Err(CliError::new(Exit::Config, message).hint(hint));
        }
        if metadata.mode() & 0o777 != 0o700 {
            let own = Permissions::from_mode(0o700);
            match fs::set_permissions(path, own) {
                // A read-only directory that others can read is accepted: its files have mode 0600.
                Err(error)
                    if error.kind() == io::ErrorKind::ReadOnlyFilesystem
                        && metadata.mode() & 0o022 == 0 => {}
                set => set.map_err(|error| self.unusable(&error))?,
            }
        }
        Ok(())
    }

    fn unusable(&self, error: &io::Error) -> CliError {
        let message = format!("cannot use `{}`", self.path.display());
        CliError::new(Exit::Config, message).caused_by(error)
    }

    /// Returns the reason why the directory cannot be used, if there is one.
    pub(crate) fn error(&self) -> Option<&CliError> {
        self.error.as_ref()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn no_home(why: Option<String>) -> CliError {
    let why = why.unwrap_or_else(|| {
        "there is no home directory: `HOME` is not set, and the account has none".to_owned()
    });
    CliError::new(Exit::Config, why)
        .hint("set `VCTL_HOME` to a directory of your own, or with sudo use `sudo -H`")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_state_directory_becomes_private() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".vctl");
        let dir = StateDir::at(&path);
        dir.make().unwrap();
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        dir.check().unwrap();
        assert_eq!(mode(), 0o700);
    }

    #[test]
    fn a_link_or_file_as_state_directory_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = home.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let link = home.path().join("link");
        symlink(&elsewhere, &link).unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [link, file] {
            let dir = StateDir::at(&path);
            assert!(dir.make().is_err());
            let error = dir.check().unwrap_err();
            assert_eq!(error.exit, Exit::Config);
            assert!(
                error.message.contains("is not a directory"),
                "{}",
                error.message
            );
        }
    }
}
