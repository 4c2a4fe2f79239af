//! The directory of the pins: in bpffs, owned by root, and created by the agent.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use nix::sys::statfs::{FsType, statfs};
use tracing::warn;

use super::ProbeError;
use crate::trusted_dir;

/// Magic number of bpffs, see statfs(2).
const BPFFS: FsType = FsType(0xcafe_4a11);

/// Creates the directory, or checks that no other user can change its content.
///
/// On a bpffs that other users can write, another user may have created it first. If it is empty,
/// it is replaced; otherwise that user could prevent the agent's start.
pub(super) fn prepare(dir: &Path) -> Result<(), ProbeError> {
    let pins = |source| ProbeError::Pins {
        dir: dir.to_owned(),
        source,
    };
    let us = nix::unistd::geteuid().as_raw();
    match fs::symlink_metadata(dir) {
        Ok(meta) if meta.is_dir() && meta.uid() != us && fs::remove_dir(dir).is_ok() => {
            warn!(
                dir = %dir.display(),
                owner = meta.uid(),
                "Another user had created the pin directory; it was empty, so it is replaced."
            );
        }
        _ => {}
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(pins(error)),
        _ => {}
    }
    trusted_dir::check(dir)?;
    let mounted = statfs(dir).map_err(|errno| pins(errno.into()))?;
    if mounted.filesystem_type() != BPFFS {
        return Err(ProbeError::NotBpffs {
            dir: dir.to_owned(),
        });
    }
    Ok(())
}

/// Removes a pin directory and everything in it. Links go first, so that no probe runs without its
/// maps.
///
/// # Errors
/// Those of unlink(2), except for a missing name.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    let mut names: Vec<_> = match fs::read_dir(dir) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    names.sort_by_key(|entry| !entry.file_name().to_string_lossy().starts_with("link_"));
    for entry in names {
        fs::remove_file(entry.path())?;
    }
    fs::remove_dir(dir)
}
