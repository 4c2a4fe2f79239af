//! The kernel's file systems that the probe needs and that a minimal machine may not have mounted.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use super::account;
use super::journal::Journal;
use super::undo::Undo;

/// The file system of pins.
pub(super) const BPFFS: &str = "/sys/fs/bpf";

const SHARED: [(&str, &str); 2] = [("bpf", BPFFS), ("tracefs", "/sys/kernel/tracing")];

/// Each lab holds a shared lock on this file as long as it uses the mounts. The kernel releases the lock of a killed lab.
const USERS: &str = "/run/vctl-lab.mounts";

/// Kinds of the mounts that a lab made: the last lab removes them.
const MADE: &str = "/run/vctl-lab.mounted";

/// The locks of this process's labs, by the id of the lab.
static HELD: Mutex<Vec<(String, File)>> = Mutex::new(Vec::new());

/// Mounts bpffs and tracefs unless they are mounted. The last lab that uses them unmounts them.
pub(super) fn ensure(journal: &Journal, lab: &str) -> Result<()> {
    journal.before(Undo::LeaveMounts { lab: lab.into() })?;
    // Labs that start at the same time must not mount twice.
    let _turn = account::lock()?;
    let users = users()?;
    users.lock_shared()?;
    held().push((lab.to_owned(), users));
    for (kind, at) in SHARED {
        if is_mounted(at)? {
            continue;
        }
        fs::create_dir_all(MADE)?;
        File::create(Path::new(MADE).join(kind))?;
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

/// Ends a lab's use of the mounts, and removes them if no other lab uses them.
pub(super) fn leave(lab: &str) -> Result<()> {
    // Two labs that end at the same time take turns, so that the second finds itself the last.
    let _turn = account::lock()?;
    held().retain(|(holder, _)| holder != lab);
    match users()?.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(()),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    for (kind, at) in SHARED {
        let made = Path::new(MADE).join(kind);
        if !made.exists() {
            continue;
        }
        match nix::mount::umount(at) {
            // It is not mounted, or a program that is not of a lab uses it.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::EBUSY) => fs::remove_file(made)?,
            Err(error) => return Err(error).with_context(|| format!("cannot unmount `{at}`")),
        }
    }
    // It still has a file if a mount could not be removed.
    let _ = fs::remove_dir(MADE);
    Ok(())
}

fn held() -> MutexGuard<'static, Vec<(String, File)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn users() -> Result<File> {
    let mut options = OpenOptions::new();
    let options = options.create(true).truncate(false).write(true);
    options
        .mode(0o600)
        .open(USERS)
        .with_context(|| format!("cannot open `{USERS}`"))
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

/// Returns whether a file system is mounted at exactly this path.
fn is_mounted(at: &str) -> Result<bool> {
    Ok(mounted(&fs::read_to_string("/proc/self/mounts")?, at))
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
