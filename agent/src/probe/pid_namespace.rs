//! The PID namespace in which the agent runs.
//!
//! The probe records process ids of the kernel. In a namespace of its own, the agent's /proc shows other ids, and none for
//! the processes of the host.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Inode of the host's PID namespace: `PID_NS_INIT_INO` of `linux/nsfs.h`, the same on each host.
const HOST_INODE: u64 = 0xefff_fffc;

/// Returns whether /proc below `root` shows this process in the host's PID namespace; `None` if it cannot be read.
pub fn is_of_host(root: &Path) -> Option<bool> {
    let namespace = fs::metadata(root.join("proc/self/ns/pid")).ok()?;
    Some(namespace.ino() == HOST_INODE)
}
