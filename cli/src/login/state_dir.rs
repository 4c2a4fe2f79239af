//! `~/.vctl`: what belongs to one person on one machine.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::exit_code::Exit;

/// The directory; what is there is its owner's alone.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    /// Finds it, and takes away what others could do in it. It need not be there: who brings a token
    /// along needs no home.
    ///
    /// # Errors
    /// It is a link, no directory, or somebody else's: a token in it would be theirs.
    pub(crate) fn find() -> Result<Self, CliError> {
        // Without one, whoever wants to keep something is told.
        let home = home().unwrap_or_else(|| PathBuf::from("/nonexistent"));
        let dir = Self(home.join(".vctl"));
        dir.check()?;
        Ok(dir)
    }

    #[cfg(test)]
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes it when it is not there.
    pub(crate) fn make(&self) -> Result<(), CliError> {
        match DirBuilder::new().mode(0o700).create(&self.0) {
            Ok(()) => Ok(()),
            // By somebody else just now, perhaps.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.check(),
            Err(error) => Err(self
                .unusable(&error)
                .hint("set `HOME` to a directory of your own")),
        }
    }

    fn check(&self) -> Result<(), CliError> {
        let path = &self.0;
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.unusable(&error)),
        };
        if !metadata.is_dir() {
            let message = format!("`{}` is no directory", path.display());
            let hint =
                "a token is kept in a directory of your own, not behind a link: move it away";
            return Err(CliError::new(Exit::Config, message).hint(hint));
        }
        if metadata.uid() != nix::unistd::geteuid().as_raw() {
            let message = format!("`{}` belongs to somebody else", path.display());
            let hint = "with sudo, use `sudo -H` or log in as that user";
            return Err(CliError::new(Exit::Config, message).hint(hint));
        }
        if metadata.mode() & 0o777 != 0o700 {
            let own = Permissions::from_mode(0o700);
            fs::set_permissions(path, own).map_err(|error| self.unusable(&error))?;
        }
        Ok(())
    }

    fn unusable(&self, error: &io::Error) -> CliError {
        let message = format!("cannot use `{}`", self.0.display());
        CliError::new(Exit::Config, message).caused_by(error)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

/// The home of who runs this: `HOME`, else what the system knows.
fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| home.is_absolute())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn it_is_its_owners_alone_whatever_it_was_before() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".vctl");
        let dir = StateDir(path.clone());
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
            let dir = StateDir(path);
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
