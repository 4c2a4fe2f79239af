//! Facts about a process for a record: all reads of a task.

use vctl_common::layout::{Field, SIZEOF_UPID};
use vctl_common::wire::{Exec, UNSET};

use crate::kernel::{Kernel, layout, load, load_at, peek, peek32};

/// Pid and start time of a process's parent.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn parent(task: *const Kernel) -> (u32, u64) {
    // SAFETY: pointers from such a task.
    unsafe {
        let parent: *const Kernel = load(task, Field::TaskRealParent);
        let leader: *const Kernel = load(parent, Field::TaskGroupLeader);
        (
            load(parent, Field::TaskTgid),
            load(leader, Field::TaskStart),
        )
    }
}

/// Fills in the users, terminal and cgroup of the process.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn describe(task: *const Kernel, exec: &mut Exec) {
    // SAFETY: pointers from such a task.
    unsafe {
        (exec.ppid, exec.parent_start) = parent(task);
        let cred: *const Kernel = load(task, Field::TaskCred);
        exec.ruid = load(cred, Field::CredUid);
        exec.rgid = load(cred, Field::CredGid);
        exec.euid = load(cred, Field::CredEuid);
        exec.egid = load(cred, Field::CredEgid);
        exec.auid = load(task, Field::TaskLoginuid);
        exec.audit_session = load(task, Field::TaskSessionid);
        // The task's own cgroup in the v2 hierarchy; a helper returns the same id.
        exec.cgroup = aya_ebpf::helpers::generated::bpf_get_current_cgroup_id();
        exec.tty = tty(task);
        let namespaces: *const Kernel = load(task, Field::TaskNsproxy);
        exec.mount_ns = match load::<*const Kernel>(namespaces, Field::NsproxyMnt) {
            mount if mount.is_null() => UNSET,
            mount => load(mount, Field::MntNsInum),
        };
        exec.pid_ns = pid_namespace(task);
    }
}

/// # Safety
/// As [`describe`].
#[inline(always)]
unsafe fn tty(task: *const Kernel) -> u32 {
    // SAFETY: pointers from such a task.
    unsafe {
        let signal: *const Kernel = load(task, Field::TaskSignal);
        let tty: *const Kernel = load(signal, Field::SignalTty);
        if tty.is_null() {
            return 0;
        }
        let driver: *const Kernel = load(tty, Field::TtyDriver);
        let major: u32 = load(driver, Field::TtyDriverMajor);
        let first: u32 = load(driver, Field::TtyDriverMinorStart);
        let index: u32 = load(tty, Field::TtyIndex);
        major << 20 | (first + index) & 0xf_ffff
    }
}

/// Returns the inode of the process's own pid namespace. `nsproxy` holds the namespace of future
/// children, which unshare(2) changes.
///
/// # Safety
/// As [`describe`].
#[inline(always)]
unsafe fn pid_namespace(task: *const Kernel) -> u32 {
    // SAFETY: pointers from such a task.
    unsafe {
        let pid: *const Kernel = load(task, Field::TaskThreadPid);
        let level: u32 = load(pid, Field::PidLevel);
        if level == 0 {
            // The usual case, in which the verifier knows the location.
            let at = layout(Field::PidNumbers as usize) + layout(Field::UpidNs as usize);
            let namespace: *const Kernel = load_at(pid, at);
            return load(namespace, Field::PidNsInum);
        }
        // The kernel's copy of the pointer: verifiers before Linux 6.10 allow no arithmetic on a trusted pointer
        // with a product of two registers.
        let pid = peek(task as u64, layout(Field::TaskThreadPid as usize));
        let numbers = pid + layout(Field::PidNumbers as usize) as u64;
        // A namespace is at most 32 deep in the kernel.
        let innermost = numbers + u64::from(level & 0x1f) * layout(SIZEOF_UPID) as u64;
        let namespace = peek(innermost, layout(Field::UpidNs as usize));
        peek32(namespace, layout(Field::PidNsInum as usize))
    }
}
