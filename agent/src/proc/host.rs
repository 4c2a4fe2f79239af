//! Facts of /proc about the whole host.

use std::fs;
use std::io;
use std::path::Path;

use vctl_common::id::BootId;

/// Reads the boot to which every clock and id of the kernel belongs, below a root such as `/proc`.
///
/// # Errors
/// The file cannot be read, or contains no boot id.
pub fn boot_id(proc: &Path) -> io::Result<BootId> {
    let text = fs::read_to_string(proc.join("sys/kernel/random/boot_id"))?;
    text.parse()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Returns the name of the running host; empty if it cannot be read.
pub fn host_name() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    text.trim().to_owned()
}
