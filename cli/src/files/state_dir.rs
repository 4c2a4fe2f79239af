//! `~/.vctl`: what belongs to one person on one machine.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::home;

/// The directory; what is there is its owner's alone.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    /// Why nothing is read or kept in it.
    trouble: Option<CliError>,
}

impl StateDir {
    /// Finds it, and takes away what others could do in it. It need not be there: who brings a token
    /// along needs no home.
    ///
    /// A directory that is a link, no directory, or another user's is as one that is not there: a token in it
    /// would be theirs. What needs it finds that out from [`StateDir::make`].
    pub(crate) fn find() -> Self {
        let home = home::here();
        let Some(dir) = home.dir else {
            return Self::unusable_because(no_home(home.instead));
        };
        let found = Self::at(&dir.join(".vctl"));
        match found.check() {
            Ok(()) => found,
            Err(error) => Self::unusable_because(error),
        }
    }

    /// A path below which nothing is.
    fn unusable_because(error: CliError) -> Self {
        Self {
            path: PathBuf::from("/nonexistent/.vctl"),
            trouble: Some(error),
        }
    }

    pub(crate) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            trouble: None,
        }
    }

    /// Makes it when it is not there.
    pub(crate) fn make(&self) -> Result<(), CliError> {
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => Ok(()),
            // By somebody else just now, perhaps.
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
            let message = format!("`{}` is no directory", path.display());
            let hint =
                "a token is kept in a directory of your own, not behind a link: move it away";
            return Err(CliError::new(Exit::Config, message).hint(hint));
        }
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            let message = format!("`{}` belongs to another user", path.display());
            let hint = format!(
                "an earlier `sudo` may have made it: `sudo chown -R \"$USER\" {}`; from now on use `sudo -H`",
                path.display()
            );
            return Err(CliError::new(Exit::Config, message).hint(hint));
        }
        if metadata.mode() & 0o777 != 0o700 {
            let own = Permissions::from_mode(0o700);
            match fs::set_permissions(path, own) {
                // What others may read there is files of mode 0600.
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

    /// Returns why nothing is read or kept in it, where that is so.
    pub(crate) fn trouble(&self) -> Option<&CliError> {
        self.trouble.as_ref()
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
    fn it_is_its_owners_alone_whatever_it_was_before() {
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
    fn a_link_or_a_file_in_its_place_is_refused() {
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
                error.message.contains("is no directory"),
                "{}",
                error.message
            );
        }
    }
}
