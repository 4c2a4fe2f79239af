//! A path, from its leaf to the root of the mount namespace.
//!
//! The helper for this (`bpf_d_path`) is not allowed in tracepoints, so dentries are walked here.
//! Names are written leaf first, each followed by NUL: the agent turns them round.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use vctl_common::layout::Field;
use vctl_common::wire::PATH_MAX;

use crate::kernel::{layout, peek, peek32};

/// Names deeper than this are left out, and the record says so.
const DEPTH_MAX: u32 = 64;
/// Longest name of a file, `NAME_MAX` in the kernel; also the mask that tells the verifier so.
const NAME_MAX: usize = 255;

/// Where a path begins: `struct path`.
#[derive(Clone, Copy)]
pub struct Path {
    pub mnt: u64,
    pub dentry: u64,
}

/// Appends `path` to `tail` from `from` on, and returns whether all of it is there. What it takes is
/// added up in `len`, which must be 0 and lie in the same map value: the verifier knows nothing of
/// numbers that come from there, so all ways through the loop are one to it. At most `PATH_MAX` and
/// one name are written.
///
/// # Safety
/// `tail` has `from + PATH_MAX + NAME_MAX + 1` bytes.
#[inline(always)]
pub unsafe fn append(path: Path, tail: *mut u8, from: usize, len: *mut u16) -> bool {
    let mut dentry = path.dentry;
    let mut mount = path.mnt - layout(Field::MountMnt as usize) as u64;
    let mut root = peek(path.mnt, layout(Field::VfsmountRoot as usize));
    let mut depth = 0;
    while depth < DEPTH_MAX {
        depth += 1;
        if dentry == root {
            let parent = peek(mount, layout(Field::MountParent as usize));
            if parent == mount || parent == 0 {
                return true;
            }
            dentry = peek(mount, layout(Field::MountMountpoint as usize));
            mount = parent;
            root = peek(
                mount,
                layout(Field::MountMnt as usize) + layout(Field::VfsmountRoot as usize),
            );
            continue;
        }
        let parent = peek(dentry, layout(Field::DentryParent as usize));
        let size = peek32(dentry, layout(Field::DentryNameLen as usize)) as usize & NAME_MAX;
        let name = peek(dentry, layout(Field::DentryName as usize));
        // SAFETY: the caller's; `written` is at most `PATH_MAX` before a name is added.
        unsafe {
            let written = len.read_volatile() as usize;
            if written > PATH_MAX {
                return false;
            }
            let to = tail.add(from + written);
            bpf_probe_read_kernel(to.cast(), size as u32, name as *const _);
            *to.add(size) = 0;
            len.write_volatile((written + size + 1) as u16);
        }
        if parent == dentry || parent == 0 {
            // The root of a tree that is mounted nowhere.
            return true;
        }
        dentry = parent;
    }
    false
}
