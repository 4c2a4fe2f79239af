//! Reads from /proc the paths that were too long for the ring, while the process exists.

use std::fs;
use std::os::unix::ffi::OsStringExt;

use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;

use crate::session::login::LoginReader;

use super::parse::NS_PER_TICK;

/// Reads the target of a process's `exe` or `cwd` link; `None` when the process has ended.
///
/// The link is read a moment after the event, so the process may have changed its directory or
/// program. The caller marks the path as not the probe's.
pub fn link(reader: &LoginReader, process: ProcessId, name: &str) -> Option<Vec<u8>> {
    let path = fs::read_link(format!("/proc/{}/{name}", process.tgid)).ok()?;
    // Checked after the link was read: the pid may have been reused before.
    let BootNs(start) = process.start;
    let tick = ProcessId {
        tgid: process.tgid,
        start: BootNs(start - start % NS_PER_TICK),
    };
    reader
        .is_alive(tick)
        .then(|| path.into_os_string().into_vec())
}
