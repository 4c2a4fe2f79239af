//! A path, from its leaf to the root of the mount namespace.
//!
//! The helper for this (`bpf_d_path`) is not allowed in tracepoints, so this module walks the
//! dentries. It writes names leaf first, each followed by NUL; the agent reverses them.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use vctl_common::layout::{DentryWindow, Field, MountWindow};
use vctl_common::wire::PATH_MAX;

use crate::kernel::{Kernel, layout, load, read};

/// Most names and mounts in one walk up to the root: for the two paths of an exec together, or for
/// the one of a failed exec. The record says when that was not enough. Each step costs the verifier
/// half a millisecond, and the agent has to be ready soon.
const STEPS: u32 = 72;
/// Longest name of a file, `NAME_MAX` in the kernel. FUSE allows longer ones.
const NAME_MAX: usize = 255;
/// A mask and not a comparison: a branch would be one more path for the verifier.
pub const LEN_MASK: usize = 2 * PATH_MAX - 1;

/// Start of a path: `struct path`.
#[derive(Clone, Copy)]
pub struct Path {
    pub mnt: u64,
    pub dentry: u64,
}

impl Path {
    pub const NONE: Self = Self { mnt: 0, dentry: 0 };
}

/// The path that a walk begins with, and its last name, read through the type of the dentry: without a helper.
#[derive(Clone, Copy)]
pub struct First {
    path: Path,
    parent: u64,
    name: u64,
}

impl First {
    /// # Safety
    /// `dentry` is a `struct dentry` the verifier trusts.
    #[inline(always)]
    pub unsafe fn of(mnt: *const Kernel, dentry: *const Kernel) -> Self {
        // SAFETY: the caller guarantees it.
        unsafe {
            Self {
                path: Path {
                    mnt: mnt as u64,
                    dentry: dentry as u64,
                },
                parent: load(dentry, Field::DentryParent),
                name: load(dentry, Field::DentryName),
            }
        }
    }

    /// Returns whether the dentry is its own parent, as that of a file without a place in a tree.
    #[inline(always)]
    pub fn is_own_parent(&self) -> bool {
        self.parent == self.path.dentry
    }
}

/// State of a walk; it lies in a map, see [`append`].
#[repr(C)]
pub struct Walk {
    dentry: u64,
    mount: u64,
    above: MountWindow,
    /// The next path; its `mnt` is 0 when there is no next path.
    next: Path,
    /// Offset in the tail where the path begins.
    from: u64,
    /// Bytes of the path written so far.
    len: u64,
    /// 1 until the ends of all paths are reached.
    truncated: u64,
}

/// Lengths of the paths of one walk, and whether names are missing.
pub struct Written {
    pub first: usize,
    pub second: usize,
    /// 1 for a path that is incomplete or was not begun, else 0.
    pub first_truncated: u32,
    pub second_truncated: u32,
}

/// Appends `first` and then `second` to `tail`; each path has at most `PATH_MAX` bytes and one more
/// name.
///
/// All state that changes between rounds lies in a map. The verifier assumes nothing about values
/// in a map, so all rounds are the same to it, and so is the code after them. With the same values
/// in registers it gives up after a million instructions.
///
/// # Safety
/// `tail` has `2 * (LEN_MASK + 1)` bytes; `walk` lies in a map.
#[inline(always)]
pub unsafe fn append(first: First, second: Path, tail: *mut u8, walk: *mut Walk) -> Written {
    // SAFETY: the caller guarantees it; volatile, so that the compiler does not keep the values in
    // registers.
    unsafe {
        let dentry = first.path.dentry;
        (&raw mut (*walk).dentry).write_volatile(dentry);
        (&raw mut (*walk).next).write_volatile(second);
        (&raw mut (*walk).from).write_volatile(0);
        (&raw mut (*walk).len).write_volatile(0);
        (&raw mut (*walk).truncated).write_volatile(1);
        enter(walk, mount_of(first.path.mnt));
        // The root of a mount has its name in the mount above: the rounds find it.
        let is_root = dentry == (&raw const (*walk).above.root).read_volatile();
        let is_done = !is_root && leave(tail, walk, dentry, first.parent, first.name);
        let mut steps = if is_done { STEPS } else { 0 };
        while steps < STEPS {
            steps += 1;
            if step(tail, walk) {
                break;
            }
        }
        let from = (&raw const (*walk).from).read_volatile() as usize & LEN_MASK;
        let len = (&raw const (*walk).len).read_volatile() as usize & LEN_MASK;
        let truncated = (&raw const (*walk).truncated).read_volatile() as u32 & 1;
        let waiting = (&raw const (*walk).next.mnt).read_volatile();
        if waiting == 0 && second.mnt != 0 {
            Written {
                first: from,
                second: len,
                first_truncated: 0,
                second_truncated: truncated,
            }
        } else {
            Written {
                first: len,
                second: 0,
                first_truncated: truncated,
                second_truncated: 1,
            }
        }
    }
}

/// Writes one name or leaves one mount; returns true at the end of the last path.
///
/// # Safety
/// As [`append`].
#[inline(always)]
unsafe fn step(tail: *mut u8, walk: *mut Walk) -> bool {
    // SAFETY: the caller guarantees it.
    unsafe {
        let dentry = (&raw const (*walk).dentry).read_volatile();
        if dentry == (&raw const (*walk).above.root).read_volatile() {
            let parent = (&raw const (*walk).above.parent).read_volatile();
            if parent == (&raw const (*walk).mount).read_volatile() {
                return turn(walk);
            }
            let mountpoint = (&raw const (*walk).above.mountpoint).read_volatile();
            (&raw mut (*walk).dentry).write_volatile(mountpoint);
            enter(walk, parent);
            return false;
        }
        let window: DentryWindow = read(dentry, layout(Field::DentryParent as usize));
        leave(tail, walk, dentry, window.parent, window.name)
    }
}

/// Writes the name of `dentry` and goes on to its parent; returns true at the end of the last path.
///
/// # Safety
/// As [`append`].
#[inline(always)]
unsafe fn leave(tail: *mut u8, walk: *mut Walk, dentry: u64, parent: u64, name: u64) -> bool {
    // SAFETY: the caller guarantees it; `written` is at most `PATH_MAX` before a name is added.
    unsafe {
        let written = (&raw const (*walk).len).read_volatile();
        if written > PATH_MAX as u64 {
            return true;
        }
        let from = (&raw const (*walk).from).read_volatile() as usize & LEN_MASK;
        let to = tail.add(from + written as usize);
        // Up to its NUL, which is counted: a constant size costs the verifier less than the name's
        // own length. One byte more shows that a name is cut.
        let copied =
            bpf_probe_read_kernel_str(to.cast(), NAME_MAX as u32 + 2, name as *const _) as u64;
        // Also an error, which is negative: the path ends here, and counts as truncated.
        if copied > NAME_MAX as u64 + 1 {
            return true;
        }
        (&raw mut (*walk).len).write_volatile(written + (copied & 0x1ff));
        (&raw mut (*walk).dentry).write_volatile(parent);
        // The dentry is its own parent: the root of a tree that is not mounted.
        if parent == dentry { turn(walk) } else { false }
    }
}

/// Starts the next path; returns true when there is no next path.
///
/// # Safety
/// As [`append`].
#[inline(always)]
unsafe fn turn(walk: *mut Walk) -> bool {
    // SAFETY: the caller guarantees it.
    unsafe {
        let next = (&raw const (*walk).next).read_volatile();
        if next.mnt == 0 {
            (&raw mut (*walk).truncated).write_volatile(0);
            return true;
        }
        let len = (&raw const (*walk).len).read_volatile();
        (&raw mut (*walk).from).write_volatile(len);
        (&raw mut (*walk).len).write_volatile(0);
        (&raw mut (*walk).dentry).write_volatile(next.dentry);
        (&raw mut (*walk).next.mnt).write_volatile(0);
        // The path that has just ended is usually in the same mount: the root filesystem.
        let mount = mount_of(next.mnt);
        if mount != (&raw const (*walk).mount).read_volatile() {
            enter(walk, mount);
        }
        false
    }
}

#[inline(always)]
fn mount_of(mnt: u64) -> u64 {
    mnt - layout(Field::MountMnt as usize) as u64
}

/// Looks up where the filesystem at `mount` is mounted.
///
/// # Safety
/// As [`append`].
#[inline(always)]
unsafe fn enter(walk: *mut Walk, mount: u64) {
    // SAFETY: the caller guarantees it; the helper checks the address, and the destination lies in
    // the map.
    unsafe {
        (&raw mut (*walk).mount).write_volatile(mount);
        let from = mount + layout(Field::MountParent as usize) as u64;
        bpf_probe_read_kernel(
            (&raw mut (*walk).above).cast(),
            size_of::<MountWindow>() as u32,
            from as *const _,
        );
    }
}
