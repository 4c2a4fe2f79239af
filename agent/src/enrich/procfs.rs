//! Reads of /proc, as thin as can be: what the bytes mean is `parse`'s.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::parse;

/// Returns the id of a process's cgroup on the unified hierarchy: its directory's inode. `None`
/// where that hierarchy is not mounted, or the process is in none we can see.
pub fn cgroup_id(process: &Path) -> Option<u64> {
    let file = fs::read(process.join("cgroup")).ok()?;
    let path = parse::cgroup_path(&file)?;
    let mountinfo = fs::read("/proc/self/mountinfo").ok()?;
    let mount = PathBuf::from(OsStr::from_bytes(parse::cgroup2_mount(&mountinfo)?));
    let relative = OsStr::from_bytes(path.strip_prefix(b"/").unwrap_or(path));
    fs::metadata(mount.join(relative))
        .ok()
        .map(|meta| meta.ino())
}
