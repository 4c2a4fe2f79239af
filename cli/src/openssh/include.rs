//! The `Include` line in `~/.ssh/config` for vctl's own file.

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
use crate::files::ssh_config_reader;

/// The line, and the file for it.
#[derive(Debug)]
pub(crate) struct Include {
    file: PathBuf,
    line: String,
}

impl Include {
    /// The line for `included`, in `file`.
    pub(crate) fn new(file: PathBuf, included: &Path) -> Result<Self, CliError> {
        let line = format!("Include \"{}\"", quote::path(included)?);
        Ok(Self { file, line })
    }

    /// Adds the line at the top: below a `Host` line it would apply to that host only, and OpenSSH uses the first value
    /// of an option. Returns whether it was missing.
    pub(crate) fn add(&self) -> Result<bool, CliError> {
        self.change(|text| {
            let lines = text.split(|&byte| byte == b'\n');
            let on_top = lines.take_while(|line| !begins_a_block(line));
            let is_there = on_top.into_iter().any(|line| self.is(line));
            (!is_there).then(|| [self.line.as_bytes(), b"\n", &self.without(text)].concat())
        })
    }

    /// Removes the line. Returns whether it was there.
    pub(crate) fn remove(&self) -> Result<bool, CliError> {
        self.change(|text| {
            let is_there = text.split(|&byte| byte == b'\n').any(|line| self.is(line));
            is_there.then(|| self.without(text))
        })
    }

    /// Returns the file's text without the line; `None` if it is not there.
    pub(crate) fn text_without(&self, text: &[u8]) -> Option<Vec<u8>> {
        let is_there = text.split(|&byte| byte == b'\n').any(|line| self.is(line));
        is_there.then(|| self.without(text))
    }

    fn is(&self, line: &[u8]) -> bool {
        line.trim_ascii() == self.line.as_bytes()
    }

    /// Removes only our line: the line ends of others stay as they are.
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

    /// Replaces the file atomically, and keeps its owner, mode and all other bytes. If it is a symbolic link, as for
    /// users who manage their settings elsewhere, the link's target is replaced.
    fn try_change(&self, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> io::Result<bool> {
        let file = target(&self.file)?;
        let (text, access) = match fs::metadata(&file) {
            Ok(metadata) => {
                let text = foreign_file::read(&file, MOST, Pipes::Refused)?;
                let (uid, gid) = (metadata.uid(), metadata.gid());
                let access = Access {
                    mode: metadata.mode() & 0o7777,
                    // Only root can change the owner, and only for root can it differ.
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

/// Maximum size of the file.
const MOST: u64 = 64 << 20;

/// Follows symbolic links, also if the last one leads to a missing file.
fn target(path: &Path) -> io::Result<PathBuf> {
    // The limit of Linux.
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
    let keyword = ssh_config_reader::words(line).into_iter().next();
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
    fn line_is_added_once_and_removed_without_a_trace() {
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
    fn line_below_a_host_line_is_moved_to_the_top() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        fs::write(&file, format!("User x\nhost=web\n{LINE}Port 22\n")).unwrap();
        assert!(include(&file).add().unwrap());
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text, format!("{LINE}User x\nhost=web\nPort 22\n"));
    }

    #[test]
    fn missing_file_is_created_and_a_link_is_followed() {
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
    fn other_bytes_stay_unchanged() {
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
    fn only_regular_files_are_changed() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        for name in ["pipe", "loop", "."] {
            assert!(include(&dir.path().join(name)).add().is_err(), "{name}");
        }
    }
}
