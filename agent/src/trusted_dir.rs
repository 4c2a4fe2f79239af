//! Whether a directory of the agent is root's alone: what lies in it decides what is recorded.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A directory, or one above it, in which another user could put what the agent takes for its own.
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

/// Looks at the directory and at every one above it. What does not exist yet is passed over.
///
/// A directory above may be open to others when its sticky bit keeps them from moving what is ours.
///
/// # Errors
/// The first directory that others own or may write, from the inside out.
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
            // Not even root can look at it: nothing can be said for it.
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
    fn a_directory_is_ours_when_only_we_may_write_it_and_those_above() {
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
