//! The kernel's file systems that the probe needs and that a bare machine may not have mounted.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use super::account;
use super::journal::Journal;
use super::undo::Undo;

/// Mounts bpffs and tracefs where they are not.
pub(super) fn ensure(journal: &Journal) -> Result<()> {
    // Labs that start together must not mount twice.
    let _turn = account::lock()?;
    for (kind, at) in [("bpf", "/sys/fs/bpf"), ("tracefs", "/sys/kernel/tracing")] {
        if mounted(&fs::read_to_string("/proc/self/mounts")?, at) {
            continue;
        }
        journal.before(Undo::Unmount { path: at.into() })?;
        mount(
            Some(kind),
            Path::new(at),
            Some(kind),
            MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("cannot mount {kind} at `{at}`"))?;
    }
    Ok(())
}

fn mounted(mounts: &str, at: &str) -> bool {
    mounts
        .lines()
        .any(|line| line.split(' ').nth(1) == Some(at))
}

#[cfg(test)]
mod tests {
    use super::mounted;

    #[test]
    fn a_mount_below_the_place_is_not_one_there() {
        assert!(mounted("bpf /sys/fs/bpf bpf rw 0 0\n", "/sys/fs/bpf"));
        assert!(!mounted("bpf /sys/fs/bpf/x bpf rw 0 0\n", "/sys/fs/bpf"));
    }
}
