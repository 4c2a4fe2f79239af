//! The kernel's file systems that the probe needs and that a minimal machine may not have mounted.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use super::account;
use super::journal::Journal;
use super::undo::Undo;

/// Mounts bpffs and tracefs unless they are mounted.
pub(super) fn ensure(journal: &Journal) -> Result<()> {
    // Labs that start at the same time must not mount twice.
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

/// Mounts a file system of `bytes` that a spec can fill.
pub(super) fn small(journal: &Journal, at: &Path, bytes: u64) -> Result<()> {
    DirBuilder::new().mode(0o700).create(at)?;
    journal.before(Undo::Unmount { path: at.into() })?;
    let options = format!("size={bytes},mode=0700");
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .with_context(|| format!("cannot mount a tmpfs at `{}`", at.display()))
}

/// Returns the path of the unified cgroup hierarchy. On a hybrid host it is not `/sys/fs/cgroup`.
pub(super) fn unified_cgroups() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let at = mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        (fields.get(2) == Some(&"cgroup2")).then(|| PathBuf::from(fields[1]))
    });
    at.context("no unified cgroup hierarchy is mounted")
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
