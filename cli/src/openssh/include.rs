//! The one line of `~/.ssh/config` that includes ours.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use vctl_common::foreign_file::{self, Pipes};

use super::quote;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::private_file::Access;
use crate::files::ssh_config;

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
    pub(crate) fn left_out_of(&self, text: &[u8]) -> Option<Vec<u8>> {
        let is_there = text.split(|&byte| byte == b'\n').any(|line| self.is(line));
        is_there.then(|| self.without(text))
    }

    fn is(&self, line: &[u8]) -> bool {
        line.trim_ascii() == self.line.as_bytes()
    }

    /// Takes out our line alone: how others end theirs is theirs.
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

    /// The file changes whole, and keeps its owner, its mode and all other bytes. Where it is a link, as of those
    /// who keep their settings elsewhere, what it leads to changes.
    fn try_change(&self, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> io::Result<bool> {
        let file = target(&self.file)?;
        let (text, access) = match fs::metadata(&file) {
            Ok(metadata) => {
                let text = foreign_file::read(&file, MOST, Pipes::Refused)?;
                let (uid, gid) = (metadata.uid(), metadata.gid());
                let access = Access {
                    mode: metadata.mode() & 0o7777,
                    // Only root can give a file away, and only root's may have been another's.
                    owner: geteuid().is_root().then_some(uid),
                    group: geteuid().is_root().then_some(gid),
                };
                (text, access)
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

/// Far more than anybody has.
const MOST: u64 = 64 << 20;

/// Returns the file that a path leads to through links, also where the last one leads to nothing yet.
fn target(path: &Path) -> io::Result<PathBuf> {
    // As many as Linux follows.
    const LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::canonicalize(&path) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        match fs::read_link(&path) {
            Ok(to) => path = path.parent().unwrap_or(Path::new("/")).join(to),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::from_raw_os_error(nix::libc::ELOOP))
}

fn begins_a_block(line: &[u8]) -> bool {
    let keyword = ssh_config::words(line).into_iter().next();
    keyword.is_some_and(|word| {
        ["host", "match"]
            .iter()
            .any(|block| word.eq_ignore_ascii_case(block))
    })
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
        symlink(".ssh/config", &link).unwrap();
        assert!(include(&link).remove().unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"");
        fs::remove_file(&file).unwrap();
        assert!(include(&link).add().unwrap());
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), LINE.as_bytes());
    }

    #[test]
    fn bytes_of_others_stay_whatever_they_are() {
        let dir = tempfile::tempdir().unwrap();
        for text in [
            &b"# f\xfcr alle\r\nHost a\r\n  Port 1\r\n"[..],
            b"Host a\n\tPort 1\n\n\n",
            b"\xef\xbb\xbf# x\nHost a",
            b"# \0 \0\nHost a\n",
            b"\n",
            b"",
        ] {
            let file = dir.path().join("config");
            fs::write(&file, text).unwrap();
            assert!(include(&file).add().unwrap());
            assert_eq!(fs::read(&file).unwrap(), [LINE.as_bytes(), text].concat());
            assert!(include(&file).remove().unwrap());
            assert_eq!(fs::read(&file).unwrap(), text);
        }
    }

    #[test]
    fn what_is_no_file_is_neither_read_nor_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        for name in ["pipe", "loop", "."] {
            assert!(include(&dir.path().join(name)).add().is_err(), "{name}");
        }
    }
}
