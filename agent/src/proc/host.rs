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

/// Returns the mounts of this process, below a root such as `/proc`; empty if they cannot be read.
///
/// A user can choose a mount point, with FUSE. One that is not UTF-8 must not hide the others.
pub fn mountinfo(proc: &Path) -> String {
    let text = fs::read(proc.join("self/mountinfo")).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns the name of the running host; empty if it cannot be read.
pub fn host_name() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use crate::proc::fake_proc::FakeProc;

    #[test]
    fn a_mount_point_that_is_not_utf8_hides_no_cgroup() {
        let proc = FakeProc::new().process(4242, 1, 500);
        proc.mount_first(b"50 31 0:50 / /home/u/\xff rw - fuse.sshfs h: rw\n");
        assert_eq!(proc.reader().cgroup(4242), Some(proc.cgroup()));
    }
}
