//! A path, from its leaf to the root of the mount namespace.
//!
//! The helper for this (`bpf_d_path`) is not allowed in tracepoints, so dentries are walked here.
//! Names are written leaf first, each followed by NUL: the agent turns them round.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use vctl_common::layout::{DENTRY_WINDOW, Field, MOUNT_WINDOW};
use vctl_common::wire::PATH_MAX;

use crate::kernel::{Window, layout};

/// Names deeper than this are left out, and the record says so.
const DEPTH_MAX: u32 = 32;
/// Longest name of a file, `NAME_MAX` in the kernel; also the mask that tells the verifier so.
const NAME_MAX: usize = 255;

/// Where a path begins: `struct path`.
#[derive(Clone, Copy)]
pub struct Path {
    pub mnt: u64,
    pub dentry: u64,
}

/// Where a walk is, and what came of it; lies in a map, see [`append`].
#[repr(C)]
pub struct Walk {
    dentry: u64,
    mount: u64,
    /// Of `mount`: its root, the mount it is on, and where on that.
    root: u64,
    parent: u64,
    mountpoint: u64,
    /// Where in the tail the path begins.
    from: u64,
    /// Bytes written.
    len: u64,
    /// 1 until the end of the path has been found.
    truncated: u64,
}

impl Walk {
    /// Returns how many bytes the last path took: at most `PATH_MAX` and one name, which the
    /// verifier takes the next mask for.
    ///
    /// # Safety
    /// `walk` lies in a map.
    #[inline(always)]
    pub unsafe fn len(walk: *const Self) -> usize {
        // SAFETY: the caller's.
        unsafe { (&raw const (*walk).len).read_volatile() as usize & LEN_MASK }
    }

    /// Returns 1 when names are missing from the last path, else 0.
    ///
    /// # Safety
    /// `walk` lies in a map.
    #[inline(always)]
    pub unsafe fn truncated(walk: *const Self) -> u32 {
        // SAFETY: the caller's.
        unsafe { (&raw const (*walk).truncated).read_volatile() as u32 & 1 }
    }
}

/// A mask and not a comparison: that would be one more way on for the verifier.
pub const LEN_MASK: usize = 2 * PATH_MAX - 1;

/// Appends `path` to `tail` from `from` on; [`Walk`] tells how much that was. At most `PATH_MAX` and
/// one name are written.
///
/// All that changes from one round to the next lies in a map: the verifier knows nothing of what it
/// finds there, so every round looks the same to it, and so does all that comes after. With the
/// same numbers in registers it gives up after a million instructions.
///
/// # Safety
/// `tail` has `from + PATH_MAX + NAME_MAX + 1` bytes; `walk` lies in a map.
#[inline(always)]
pub unsafe fn append(path: Path, tail: *mut u8, from: usize, walk: *mut Walk) {
    // SAFETY: the caller's; volatile, or the compiler would keep it all in registers.
    unsafe {
        (&raw mut (*walk).dentry).write_volatile(path.dentry);
        (&raw mut (*walk).from).write_volatile(from as u64);
        (&raw mut (*walk).len).write_volatile(0);
        (&raw mut (*walk).truncated).write_volatile(1);
        enter(walk, path.mnt - layout(Field::MountMnt as usize) as u64);
        for _ in 0..DEPTH_MAX {
            if step(tail, walk) {
                break;
            }
        }
    }
}

/// Writes one name or leaves one mount; true at the end of the path.
///
/// # Safety
/// As [`append`].
#[inline(always)]
unsafe fn step(tail: *mut u8, walk: *mut Walk) -> bool {
    // SAFETY: the caller's; `written` is at most `PATH_MAX` before a name is added.
    unsafe {
        let dentry = (&raw const (*walk).dentry).read_volatile();
        if dentry == (&raw const (*walk).root).read_volatile() {
            let parent = (&raw const (*walk).parent).read_volatile();
            if parent == (&raw const (*walk).mount).read_volatile() {
                (&raw mut (*walk).truncated).write_volatile(0);
                return true;
            }
            let mountpoint = (&raw const (*walk).mountpoint).read_volatile();
            (&raw mut (*walk).dentry).write_volatile(mountpoint);
            enter(walk, parent);
            return false;
        }
        let window = Window::read(dentry, layout(DENTRY_WINDOW));
        let member = |field: Field| layout(field as usize) - layout(DENTRY_WINDOW);
        let size = window.get::<u32>(member(Field::DentryNameLen)) as usize & NAME_MAX;
        let name: u64 = window.get(member(Field::DentryName));
        let parent: u64 = window.get(member(Field::DentryParent));
        let written = (&raw const (*walk).len).read_volatile() as usize;
        if written > PATH_MAX {
            return true;
        }
        let from = (&raw const (*walk).from).read_volatile() as usize & LEN_MASK;
        let to = tail.add(from + written);
        bpf_probe_read_kernel(to.cast(), size as u32, name as *const _);
        *to.add(size) = 0;
        (&raw mut (*walk).len).write_volatile((written + size + 1) as u64);
        (&raw mut (*walk).dentry).write_volatile(parent);
        // Its own parent: the root of a tree that is mounted nowhere.
        (&raw mut (*walk).truncated).write_volatile((parent != dentry) as u64);
        parent == dentry
    }
}

/// Looks up where the filesystem at `mount` is mounted.
///
/// # Safety
/// As [`append`].
#[inline(always)]
unsafe fn enter(walk: *mut Walk, mount: u64) {
    let window = Window::read(mount, layout(MOUNT_WINDOW));
    let member = |field: Field| layout(field as usize) - layout(MOUNT_WINDOW);
    let root = member(Field::MountMnt) + layout(Field::VfsmountRoot as usize);
    // SAFETY: the caller's.
    unsafe {
        (&raw mut (*walk).mount).write_volatile(mount);
        (&raw mut (*walk).root).write_volatile(window.get(root));
        (&raw mut (*walk).parent).write_volatile(window.get(member(Field::MountParent)));
        (&raw mut (*walk).mountpoint).write_volatile(window.get(member(Field::MountMountpoint)));
    }
}
