//! A path, from its leaf to the root of the mount namespace.
//!
//! The helper for this (`bpf_d_path`) is not allowed in tracepoints, so dentries are walked here.
//! Names are written leaf first, each followed by NUL: the agent turns them round.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str};
use vctl_common::layout::{DentryWindow, Field, MountWindow};
use vctl_common::wire::PATH_MAX;

use crate::kernel::{layout, read};

/// Names and mounts that are passed on the way up from the two paths of an exec, or the one of a
/// failed exec; the record says when that was not enough. Each costs the verifier half a millisecond,
/// and the agent has to be ready soon.
const STEPS: u32 = 72;
/// Longest name of a file, `NAME_MAX` in the kernel.
const NAME_MAX: usize = 255;
/// A mask and not a comparison: that would be one more way on for the verifier.
pub const LEN_MASK: usize = 2 * PATH_MAX - 1;

/// Where a path begins: `struct path`.
#[derive(Clone, Copy)]
pub struct Path {
    pub mnt: u64,
    pub dentry: u64,
}

impl Path {
    pub const NONE: Self = Self { mnt: 0, dentry: 0 };
}

/// Where a walk is, and what came of it; lies in a map, see [`append`].
#[repr(C)]
pub struct Walk {
    dentry: u64,
    mount: u64,
    above: MountWindow,
    /// The path after this one; none when its `mnt` is 0.
    next: Path,
    /// Where in the tail the path begins.
    from: u64,
    /// Bytes written of it.
    len: u64,
    /// 1 until the ends of all paths have been found.
    truncated: u64,
}

/// Lengths of the paths of one walk, and whether names are missing.
pub struct Written {
    pub first: usize,
    pub second: usize,
    /// 1 for the path that was not finished, else 0. One that was not begun is not finished.
    pub first_truncated: u32,
    pub second_truncated: u32,
}

/// Appends `first` and then `second` to `tail`, each at most `PATH_MAX` and one name long.
///
/// All that changes from one round to the next lies in a map: the verifier knows nothing of what it
/// finds there, so every round looks the same to it, and so does all that comes after. With the
/// same numbers in registers it gives up after a million instructions.
///
/// # Safety
/// `tail` has `2 * (LEN_MASK + 1)` bytes; `walk` lies in a map.
#[inline(always)]
pub unsafe fn append(first: Path, second: Path, tail: *mut u8, walk: *mut Walk) -> Written {
    // SAFETY: the caller's; volatile, or the compiler would keep it all in registers.
    unsafe {
        (&raw mut (*walk).dentry).write_volatile(first.dentry);
        (&raw mut (*walk).next).write_volatile(second);
        (&raw mut (*walk).from).write_volatile(0);
        (&raw mut (*walk).len).write_volatile(0);
        (&raw mut (*walk).truncated).write_volatile(1);
        enter(walk, mount_of(first.mnt));
        let mut steps = 0;
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

/// Writes one name or leaves one mount; true at the end of the last path.
///
/// # Safety
/// As [`append`].
#[inline(always)]
unsafe fn step(tail: *mut u8, walk: *mut Walk) -> bool {
    // SAFETY: the caller's; `written` is at most `PATH_MAX` before a name is added.
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
        let written = (&raw const (*walk).len).read_volatile();
        if written > PATH_MAX as u64 {
            return true;
        }
        let from = (&raw const (*walk).from).read_volatile() as usize & LEN_MASK;
        let to = tail.add(from + written as usize);
        // Up to its NUL, which is counted: a size the verifier knows costs it less than the name's.
        let name = window.name as *const _;
        let copied = bpf_probe_read_kernel_str(to.cast(), NAME_MAX as u32 + 1, name);
        (&raw mut (*walk).len).write_volatile(written + (copied as u64 & 0x1ff));
        (&raw mut (*walk).dentry).write_volatile(window.parent);
        // Its own parent: the root of a tree that is mounted nowhere.
        if window.parent == dentry {
            turn(walk)
        } else {
            false
        }
    }
}

/// Goes on with the next path; true when there is none.
///
/// # Safety
/// As [`append`].
#[inline(always)]
unsafe fn turn(walk: *mut Walk) -> bool {
    // SAFETY: the caller's.
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
        // Most often the path that has just ended did so in the same one: the root filesystem.
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
    // SAFETY: the caller's; the helper checks the address, the destination is the map's.
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
