//! Replaces a file as a whole: a reader, and the machine after a crash, sees the old content or the new.
//!
//! `tempfile` (3.27) and `atomic-write-file` (0.3) were examined. Both leave the sync of the directory to the caller,
//! and both name the unfinished file at random: files that a crash left would collect in the spool, which accepts
//! only names that it knows.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// What a crash of the machine may do to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// File and directory are synced: old or new content, and never the old one again after `Ok`.
    Synced,
    /// Nothing is synced: the file may be old or torn. For files that are soon written again, or can be built anew.
    Unsynced,
}

/// Name of the file until it is complete. It is hidden, and in the same directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// One name for each target, [`unfinished_name`]: what a crash left is replaced. For a single writer.
    OneName,
    /// A new name each time: several writers do not disturb each other.
    NewName,
}

/// Properties of the new file.
#[derive(Clone, Copy, Debug)]
pub struct NewFile {
    pub durability: Durability,
    pub unfinished: Unfinished,
    /// `None`: 0666 without the bits of the umask.
    pub mode: Option<u32>,
    /// Numeric user and group; `None` keeps those of the process.
    pub owner: Option<u32>,
    pub group: Option<u32>,
}

impl NewFile {
    /// A file of the process's user alone.
    pub const fn private(durability: Durability, unfinished: Unfinished) -> Self {
        Self {
            durability,
            unfinished,
            mode: Some(0o600),
            owner: None,
            group: None,
        }
    }

    /// Creates or replaces `path` with the bytes from `write`. A symbolic link at `path` is itself replaced.
    ///
    /// # Errors
    /// The old content stays, unless only the last step failed, the sync of the directory.
    pub fn replace(
        self,
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let incomplete = Incomplete::create(self, path)?;
        let mut out = BufWriter::new(&incomplete.file);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        // The new owner comes before the new mode, and both before the name: no moment is too permissive.
        // A file system without owners is asked for nothing that it has already.
        let made = incomplete.file.metadata()?;
        let is_other = |wanted: Option<u32>, made| wanted.is_some_and(|wanted| wanted != made);
        if is_other(self.owner, made.uid()) || is_other(self.group, made.gid()) {
            fchown(&incomplete.file, self.owner, self.group)?;
        }
        if let Some(mode) = self.mode {
            let permissions = Permissions::from_mode(mode);
            incomplete.file.set_permissions(permissions)?;
        }
        if self.durability == Durability::Synced {
            incomplete.file.sync_all()?;
        }
        fs::rename(&incomplete.path, path)?;
        if self.durability == Durability::Synced {
            sync_directory(path)?;
        }
        Ok(())
    }
}

/// Returns the file's name with [`Unfinished::OneName`] until it is complete.
pub fn unfinished_name(name: &str) -> String {
    format!(".{name}.new")
}

/// Returns the name that a file with this name gets when it is complete, and the kind of its present name; `None` for any
/// other file.
pub fn unfinished_target(name: &str) -> Option<(&str, Unfinished)> {
    let (target, id) = name.strip_prefix('.')?.rsplit_once('.')?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let kind = match id {
        "new" => Unfinished::OneName,
        _ if is_id => Unfinished::NewName,
        _ => return None,
    };
    (!target.is_empty()).then_some((target, kind))
}

/// Makes the new name durable. Directories that cannot be opened for reading, and file systems without a sync of
/// directories, have no way to do so.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match File::open(directory).and_then(|directory| directory.sync_all()) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// A file that is deleted, unless it was renamed.
struct Incomplete {
    path: PathBuf,
    file: File,
}

impl Incomplete {
    fn create(new: NewFile, path: &Path) -> io::Result<Self> {
        let name = path
            .file_name()
            .ok_or_else(|| io::Error::other("it has no file name"))?;
        let mut unfinished = OsString::from(".");
        unfinished.push(name);
        match new.unfinished {
            Unfinished::OneName => unfinished.push(".new"),
            // Not the process id: two threads may write.
            Unfinished::NewName => unfinished.push(format!(".{}", Uuid::now_v7().simple())),
        }
        let path = path.with_file_name(unfinished);
        if new.unfinished == Unfinished::OneName {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if new.mode.is_some() { 0o600 } else { 0o666 })
            .open(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Incomplete {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const BOTH: [Unfinished; 2] = [Unfinished::OneName, Unfinished::NewName];

    fn names(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn a_failed_write_keeps_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("page.html");
        for unfinished in BOTH {
            let new = NewFile::private(Durability::Synced, unfinished);
            new.replace(&path, |out| out.write_all(b"old")).unwrap();
            let failed = new.replace(&path, |out| {
                out.write_all(b"half")?;
                Err(io::Error::other("no more"))
            });
            assert!(failed.is_err());
            assert_eq!(fs::read(&path).unwrap(), b"old");
            new.replace(&path, |out| out.write_all(b"new")).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(names(dir.path()), 1);
        }
    }

    #[test]
    fn a_leftover_of_a_crash_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spool.id");
        let left = dir.path().join(unfinished_name("spool.id"));
        let precious = dir.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let new = NewFile::private(Durability::Synced, Unfinished::OneName);
        for attempt in ["a file", "a link"] {
            if attempt == "a file" {
                fs::write(&left, "a longer text than the new one").unwrap();
            } else {
                symlink(&precious, &left).unwrap();
            }
            new.replace(&path, |out| out.write_all(b"new")).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new", "{attempt}");
            assert!(!left.exists(), "{attempt}");
        }
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
    }

    #[test]
    fn an_unfinished_file_names_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db-login.vctl-ro");
        for unfinished in BOTH {
            let new = NewFile::private(Durability::Unsynced, unfinished);
            let written = new.replace(&path, |_| {
                let entry = fs::read_dir(dir.path())?.next().unwrap()?.file_name();
                let target = entry.to_str().and_then(unfinished_target);
                let expected = Some(("db-login.vctl-ro", unfinished));
                assert_eq!(target, expected, "{entry:?}");
                Ok(())
            });
            written.unwrap();
            fs::remove_file(&path).unwrap();
        }
        for other in [
            "token",
            ".token",
            "token.new",
            "..new",
            ".token.0123",
            ".new",
        ] {
            assert_eq!(unfinished_target(other), None, "{other}");
        }
    }

    #[test]
    fn the_mode_does_not_depend_on_the_umask() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sink");
        for mode in [0o600, 0o640, 0o644, 0o666] {
            let new = NewFile {
                mode: Some(mode),
                ..NewFile::private(Durability::Unsynced, Unfinished::NewName)
            };
            new.replace(&path, |out| out.write_all(b"t")).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
        }
    }

    #[test]
    fn a_target_in_the_working_directory_has_a_directory() {
        assert!(sync_directory(Path::new("file")).is_ok());
        assert!(sync_directory(Path::new("/nowhere/at/all/file")).is_err());
    }

    #[test]
    fn a_path_without_a_file_name_is_refused() {
        let new = NewFile::private(Durability::Synced, Unfinished::NewName);
        assert!(new.replace(Path::new("/"), |_| Ok(())).is_err());
    }
}
