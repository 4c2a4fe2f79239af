//! The configuration file of a directory, and when its owner or mode makes vctl refuse it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use vctl_common::config::{ConfigFile, Need, Origin};

/// The file in the working directory. Parent directories are not searched.
pub(super) const DIRECTORY_FILE: &str = ".vctl/config.yaml";

/// Returns the file of a directory, like that of the working directory in the list of files.
pub(super) fn file_of(directory: &Path) -> ConfigFile {
    ConfigFile {
        path: directory.join(DIRECTORY_FILE),
        need: Need::IfThere,
        origin: |_, _| Origin::Directory,
        distrust: distrust_directory,
    }
}

/// Checks the owner and mode of a directory's file. The group may write it, because a checkout may belong to
/// a group. A file that another user put into a directory such as `/tmp` is refused, also a link to a file
/// of this user.
pub(super) fn distrust_directory(path: &Path, meta: &Metadata) -> Option<&'static str> {
    if is_of_another(meta) {
        return Some("is owned by another user");
    }
    if meta.mode() & 0o002 != 0 {
        return Some("can be written by every user");
    }
    let Ok(dir) = fs::symlink_metadata(path.parent()?) else {
        return Some("is in a directory that cannot be read");
    };
    if is_of_another(&dir) {
        Some("is in a directory that is owned by another user")
    } else if dir.mode() & 0o002 != 0 && !dir.is_symlink() {
        Some("is in a directory that every user can write")
    } else {
        None
    }
}

pub(super) fn is_of_another(meta: &Metadata) -> bool {
    meta.uid() != 0 && meta.uid() != nix::unistd::geteuid().as_raw()
}
