//! `~/.vctl`: what belongs to one person on one machine.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::CliError;
use crate::exit_code::Exit;

/// The directory, there and its owner's alone.
#[derive(Clone, Debug)]
pub(crate) struct StateDir(PathBuf);

impl StateDir {
    /// Makes it when it is not there, and takes away what others could do in it.
    ///
    /// # Errors
    /// It is a link, no directory, or somebody else's: a token in it would be theirs.
    pub(crate) fn open() -> Result<Self, CliError> {
        let home = home().ok_or_else(|| {
            CliError::new(
                Exit::Config,
                "there is no home directory to keep a token in",
            )
            .hint("set `HOME`")
        })?;
        Self::open_at(home.join(".vctl"))
    }

    fn open_at(path: PathBuf) -> Result<Self, CliError> {
        let failed = |error: &io::Error| {
            CliError::new(Exit::Config, format!("cannot use `{}`", path.display())).caused_by(error)
        };
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(&error)),
        }
        let metadata = fs::symlink_metadata(&path).map_err(|error| failed(&error))?;
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
            fs::set_permissions(&path, own).map_err(|error| failed(&error))?;
        }
        Ok(Self(path))
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
        StateDir::open_at(path.clone()).unwrap();
        let mode = || fs::metadata(&path).unwrap().mode() & 0o777;
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        StateDir::open_at(path.clone()).unwrap();
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
            let error = StateDir::open_at(path).unwrap_err();
            assert_eq!(error.exit, Exit::Config);
            assert!(
                error.message.contains("is no directory"),
                "{}",
                error.message
            );
        }
    }
}
