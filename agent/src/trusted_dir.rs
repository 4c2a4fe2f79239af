//! Checks that only root can write to a directory of the agent: its content decides what is recorded.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory, itself or a parent, in which another user could place files that the agent would trust.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{}` {why} (owner uid {uid}, mode {mode:04o}); fix it: chown root:root '{}' && chmod go-w '{}'",
    path.display(), path.display(), path.display()
)]
pub struct UntrustedDir {
    pub path: PathBuf,
    pub uid: u32,
    pub mode: u32,
    pub why: &'static str,
}

/// Checks the directory and all its parents. A missing one is skipped.
///
/// A parent may be writable for others when its sticky bit protects our entry.
///
/// # Errors
/// The first directory, from the inside out, that another user owns or may write.
pub fn check(dir: &Path) -> Result<(), UntrustedDir> {
    let us = nix::unistd::geteuid().as_raw();
    let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let given = dir.ancestors().skip(1).map(|path| (path, false));
    let real = real
        .ancestors()
        .enumerate()
        .map(|(above, path)| (path, above == 0));
    for (path, is_leaf) in real.chain(given) {
        let meta = match fs::symlink_metadata(path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Root cannot read it, so nothing is known about it.
            Err(_) => return Err(untrusted(path, 0, 0, "cannot be looked at")),
        };
        let mode = meta.mode() & 0o7777;
        let group_writes = mode & 0o020 != 0 && meta.gid() != 0;
        let is_open = mode & 0o002 != 0 || group_writes;
        let is_sticky = mode & 0o1000 != 0;
        let why = if meta.uid() != 0 && meta.uid() != us {
            "belongs to another user"
        } else if meta.is_symlink() {
            continue;
        } else if !meta.is_dir() {
            "is not a directory"
        } else if is_open && (is_leaf || !is_sticky) {
            "can be written by others"
        } else {
            continue;
        };
        return Err(untrusted(path, meta.uid(), mode, why));
    }
    Ok(())
}

fn untrusted(path: &Path, uid: u32, mode: u32, why: &'static str) -> UntrustedDir {
    UntrustedDir {
        path: path.to_owned(),
        uid,
        mode,
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    fn refused(dir: &Path) -> Option<(PathBuf, &'static str)> {
        check(dir).err().map(|error| (error.path, error.why))
    }

    #[test]
    fn a_directory_is_trusted_if_only_we_may_write_the_path() {
        let root = tempfile::tempdir().unwrap();
        let (above, dir) = (root.path().join("above"), root.path().join("above/dir"));
        fs::create_dir_all(&dir).unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        assert_eq!(refused(&dir), None);
        assert_eq!(refused(&dir.join("not/yet")), None);
        set(&above, 0o777);
        let open = "can be written by others";
        assert_eq!(refused(&dir), Some((above.clone(), open)));
        set(&above, 0o1777);
        assert_eq!(refused(&dir), None);
        set(&dir, 0o1777);
        assert_eq!(refused(&dir), Some((dir.clone(), open)));
    }

    #[test]
    fn the_error_names_path_owner_mode_and_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("dir");
        fs::create_dir(&dir).unwrap();
        fs::set_permissions(&dir, Permissions::from_mode(0o777)).unwrap();
        let text = check(&dir).unwrap_err().to_string();
        for part in [
            dir.to_str().unwrap(),
            "owner uid",
            "mode 0777",
            "chown root:root",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
