//! What was too long for the ring, from /proc while the process is there.

use std::fs;
use std::os::unix::ffi::OsStringExt;

use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;

use crate::session::login::LoginReader;

use super::parse::NS_PER_TICK;

/// Reads where `exe` or `cwd` of a process points; `None` when it has ended or is another by now.
///
/// Asked a moment after the event: the process may have gone elsewhere, or executed something else.
/// The caller says that the path is not the probe's.
pub fn link(reader: &LoginReader, process: ProcessId, name: &str) -> Option<Vec<u8>> {
    let path = fs::read_link(format!("/proc/{}/{name}", process.tgid)).ok()?;
    // Looked at after the link: the pid may have been reused before.
    let BootNs(start) = process.start;
    let tick = ProcessId {
        tgid: process.tgid,
        start: BootNs(start - start % NS_PER_TICK),
    };
    reader
        .is_alive(tick)
        .then(|| path.into_os_string().into_vec())
}
