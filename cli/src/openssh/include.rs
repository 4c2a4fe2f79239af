//! The one line of `~/.ssh/config` that includes ours.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::quote;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::private_file::{self, Access};

/// A line in a file.
#[derive(Debug)]
pub(crate) struct Include {
    file: PathBuf,
    line: String,
}

impl Include {
    /// Of `included` in `file`.
    pub(crate) fn new(file: PathBuf, included: &Path) -> Result<Self, CliError> {
        let line = format!("Include \"{}\"", quote::path(included)?);
        Ok(Self { file, line })
    }

    /// Puts it on top: below a `Host` line it would be for that host alone, and of two values OpenSSH takes
    /// the first. Returns whether it was not there.
    pub(crate) fn add(&self) -> Result<bool, CliError> {
        self.change(|text| {
            let lines = text.split(|&byte| byte == b'\n');
            let on_top = lines.take_while(|line| !begins_a_block(line));
            let is_there = on_top.into_iter().any(|line| self.is(line));
            (!is_there).then(|| [self.line.as_bytes(), b"\n", &self.without(text)].concat())
        })
    }

    /// Takes it away. Returns whether it was there.
    pub(crate) fn remove(&self) -> Result<bool, CliError> {
        self.change(|text| {
            let is_there = text.split(|&byte| byte == b'\n').any(|line| self.is(line));
            is_there.then(|| self.without(text))
        })
    }

    /// Returns the file without it; nothing when it is not there.
    pub(crate) fn left_out_of(&self, text: &str) -> Option<String> {
        let text = text.as_bytes();
        let is_there = text.split(|&byte| byte == b'\n').any(|line| self.is(line));
        is_there.then(|| String::from_utf8_lossy(&self.without(text)).into_owned())
    }

    fn is(&self, line: &[u8]) -> bool {
        line.trim_ascii() == self.line.as_bytes()
    }

    fn without(&self, text: &[u8]) -> Vec<u8> {
        let lines = text.split_inclusive(|&byte| byte == b'\n');
        lines
            .filter(|line| !self.is(line))
            .collect::<Vec<_>>()
            .concat()
    }

    fn change(&self, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Result<bool, CliError> {
        self.try_change(change).map_err(|error| {
            let message = format!("cannot change `{}`", self.file.display());
            CliError::new(Exit::Failure, message).caused_by(&error)
        })
    }

    /// The file changes whole, and keeps who may read it. Where it is a link, as of those who keep their
    /// settings elsewhere, what it leads to changes.
    fn try_change(&self, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> io::Result<bool> {
        let file = match fs::canonicalize(&self.file) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.file.clone(),
            Err(error) => return Err(error),
        };
        let (text, access) = match fs::metadata(&file) {
            Ok(metadata) => {
                let mode = metadata.mode() & 0o777;
                (
                    fs::read(&file)?,
                    Access {
                        mode,
                        ..Access::OWN
                    },
                )
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), Access::OWN),
            Err(error) => return Err(error),
        };
        let Some(new) = change(&text) else {
            return Ok(false);
        };
        if let Some(dir) = file.parent().filter(|dir| !dir.exists()) {
            DirBuilder::new().mode(0o700).create(dir)?;
        }
        private_file::replace_for(&file, access, |out| out.write_all(&new))?;
        Ok(true)
    }
}

fn begins_a_block(line: &[u8]) -> bool {
    let mut words = line
        .trim_ascii()
        .split(|&byte| byte.is_ascii_whitespace() || byte == b'=');
    let word = words.next().unwrap_or_default();
    word.eq_ignore_ascii_case(b"host") || word.eq_ignore_ascii_case(b"match")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const LINE: &str = "Include \"/home/x/.vctl/ssh/config\"\n";

    fn include(file: &Path) -> Include {
        Include::new(file.to_owned(), Path::new("/home/x/.vctl/ssh/config")).unwrap()
    }

    #[test]
    fn it_is_there_once_however_often_it_is_added_and_leaves_no_trace() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        let before = b"# mine\nHost *\n\tUser \xff\n  IdentityFile ~/.ssh/id".as_slice();
        fs::write(&file, before).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let include = include(&file);
        assert!(include.add().unwrap());
        assert!(!include.add().unwrap());
        assert_eq!(fs::read(&file).unwrap(), [LINE.as_bytes(), before].concat());
        let mode = fs::metadata(&file).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o640);
        assert!(include.remove().unwrap());
        assert!(!include.remove().unwrap());
        assert_eq!(fs::read(&file).unwrap(), before);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn below_a_host_line_it_would_be_for_that_host_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        fs::write(&file, format!("User x\nhost=web\n{LINE}Port 22\n")).unwrap();
        assert!(include(&file).add().unwrap());
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("{LINE}User x\nhost=web\nPort 22\n"));
    }

    #[test]
    fn a_file_that_is_not_there_is_made_and_a_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".ssh/config");
        assert!(include(&file).add().unwrap());
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        let link = dir.path().join("link");
        symlink(&file, &link).unwrap();
        assert!(include(&link).remove().unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"");
    }
}
