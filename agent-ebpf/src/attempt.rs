//! The record of an exec that failed.
//!
//! Name and argv are the caller's memory after the call, which another thread may have changed; the attempt and its
//! errno come from the kernel.

use aya_ebpf::helpers::{
    bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
    generated::{bpf_get_current_task_btf, bpf_probe_read_user, bpf_probe_read_user_str},
};
use vctl_common::layout::{
    REGS_ARG0, REGS_ARG1, REGS_ARG2, REGS_COMPAT_ARG0, REGS_COMPAT_ARG1, REGS_COMPAT_ARG2,
};
use vctl_common::wire::{self, Exec, PATH_MAX};

use crate::exec;
use crate::kernel::{Kernel, layout, peek};
use crate::maps::{FAILED_SCRATCH, FAILED_TAIL, FailedScratch};
use crate::path::{self, First, LEN_MASK, Path};
use crate::phase::{self, Step};
use crate::session::{self, Owner};
use crate::task;

/// Number of argv items that are read.
const ITEMS_MAX: usize = 64;
/// Longest item that is copied whole, with its NUL.
const ITEM_MAX: usize = 1024;
/// Bytes of an item that are copied: one more shows that it is cut.
const ITEM_READ: usize = ITEM_MAX + 1;
/// Bytes of argv after which no further item is copied.
const ARGV_ROOM: usize = FAILED_TAIL - (LEN_MASK + PATH_MAX) - ITEM_READ;

/// A system call of one table. The number is the index of its scratch space: where the kernel preempts programs, two
/// programs for different calls may run on one CPU at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Call(u32);

impl Call {
    pub const EXECVE: Self = Self(0);
    pub const EXECVEAT: Self = Self(1);
    pub const COMPAT_EXECVE: Self = Self(2);
    pub const COMPAT_EXECVEAT: Self = Self(3);
    pub const X32_EXECVE: Self = Self(4);
    pub const X32_EXECVEAT: Self = Self(5);

    /// Size of the caller's pointers.
    #[inline(always)]
    fn width(self) -> u32 {
        if self.0 < Self::COMPAT_EXECVE.0 { 8 } else { 4 }
    }

    /// Reads the addresses of name and argv. execveat(2) has a descriptor in front of them.
    #[inline(always)]
    fn name_and_argv(self, regs: u64) -> (u64, u64) {
        let (name, argv) = match self {
            Self::EXECVE | Self::X32_EXECVE => (REGS_ARG0, REGS_ARG1),
            Self::EXECVEAT | Self::X32_EXECVEAT => (REGS_ARG1, REGS_ARG2),
            Self::COMPAT_EXECVE => (REGS_COMPAT_ARG0, REGS_COMPAT_ARG1),
            _ => (REGS_COMPAT_ARG1, REGS_COMPAT_ARG2),
        };
        let mask = u64::MAX >> (64 - 8 * self.width());
        (
            peek(regs, layout(name)) & mask,
            peek(regs, layout(argv)) & mask,
        )
    }
}

/// Writes the record of a failed call of the running task, unless its process is not recorded.
#[inline(always)]
pub fn record(regs: u64, call: Call, errno: u32) {
    // SAFETY: the helper has no conditions.
    let task = unsafe { bpf_get_current_task_btf() } as *const Kernel;
    // SAFETY: the running task.
    let Some(mut owner) = (unsafe { session::owner(task, session::current_tgid()) }) else {
        return;
    };
    // The process continues with its old program. SAFETY: as above.
    unsafe { phase::decide(&mut owner, task, Step::Fork) };
    let (name, argv) = call.name_and_argv(regs);
    // SAFETY: as above.
    unsafe { write(task, call, name, argv, errno, &owner) };
}

/// # Safety
/// `task` is the running task.
#[inline(always)]
unsafe fn write(
    task: *const Kernel,
    call: Call,
    name: u64,
    argv: u64,
    errno: u32,
    owner: &Owner,
) {
    let (Some(place), Some(scratch)) = (session::place(owner), FAILED_SCRATCH.get_ptr_mut(call.0))
    else {
        return;
    };
    // SAFETY: this call's scratch on this CPU; see `exec`.
    let scratch: &mut FailedScratch = unsafe { &mut *scratch };
    let exec = &mut scratch.exec;
    let tail = scratch.tail.as_mut_ptr();
    let walk = &raw mut scratch.walk;
    // In memory too: with a constant, the verifier would check each item once for each width.
    // SAFETY: a field of our own scratch space.
    unsafe { (&raw mut scratch.width).write_volatile(call.width()) };
    // SAFETY: the helpers have no conditions.
    let (at, cpu, tid) = unsafe {
        let tid = bpf_get_current_pid_tgid() as u32;
        (bpf_ktime_get_boot_ns(), bpf_get_smp_processor_id(), tid)
    };
    exec.header = place.header(owner, wire::KIND_EXEC_FAILED, 0, at, cpu);
    exec.exe_inode = 0;
    exec.exe_device = 0;
    exec.exe_links = 0;
    exec.exe_len = 0;
    exec.comm = 0;
    exec.tid = tid;
    exec.errno = errno;
    // SAFETY: the caller guarantees it; `tail` has `FAILED_TAIL` bytes, and two paths take at most
    // half of them.
    let end = unsafe {
        task::describe(task, exec);
        // In memory and not in a register, like all data that decides the path: see `path::append`.
        let flags = &raw mut exec.flags;
        flags.write_volatile(phase::of(owner) << wire::EXEC_PHASE_SHIFT);
        let (mnt, dentry) = exec::cwd(task);
        let written = path::append(First::of(mnt, dentry), Path::NONE, tail, walk);
        let cwd_len = written.first;
        exec.cwd_len = cwd_len as u16;
        exec::add_flag(flags, written.first_truncated, wire::EXEC_CWD_TRUNCATED);
        let to = tail.add(cwd_len);
        let copied = bpf_probe_read_user_str(to.cast(), PATH_MAX as u32, name as *const _);
        let end = cwd_len + exec::name_len(copied, &raw mut exec.filename_len);
        items(argv, &raw const scratch.width, exec, tail, end)
    };
    // SAFETY: `end` is at most the size of the tail, which follows the record.
    unsafe { place.submit((&raw mut *scratch).cast(), end, at) };
}

/// Copies the items of argv to `from`, one after the other, and returns the end of the last one.
///
/// # Safety
/// `width` points to the size of an address in argv. `tail` has `FAILED_TAIL` bytes, and `from` is at most half of
/// that.
#[inline(always)]
unsafe fn items(
    argv: u64,
    width: *const u32,
    exec: &mut Exec,
    tail: *mut u8,
    from: usize,
) -> usize {
    exec.argc = 0;
    exec.argv_len = 0;
    let len = &raw mut exec.argv_len;
    let mut flags = wire::EXEC_ARGV_TRUNCATED;
    for index in 0..ITEMS_MAX {
        let mut item = 0_u64;
        // SAFETY: the helpers check addresses; there is room for an item behind `ARGV_ROOM`. The
        // length goes through memory for the verifier, as in `path`.
        unsafe {
            // Little-endian, so that four bytes leave the upper half zero.
            let width = width.read_volatile();
            let at = argv + index as u64 * u64::from(width);
            if width > 8
                || bpf_probe_read_user((&raw mut item).cast(), width, at as *const _) != 0
                || item == 0
            {
                flags = 0;
                break;
            }
            let written = len.read_volatile() as usize;
            if written > ARGV_ROOM {
                break;
            }
            let to = tail.add(from + written);
            let mut copied = bpf_probe_read_user_str(to.cast(), ITEM_READ as u32, item as *const _);
            // Linux 6.1 returns 0 for an empty string and not 1, the length of its NUL.
            if copied == 0 {
                to.write_volatile(0);
                copied = 1;
            }
            if copied <= 0 || copied > ITEM_READ as i64 {
                flags = wire::EXEC_ARGV_FAULT;
                break;
            }
            // 1 for a cut item, without a branch.
            let is_cut = (copied as u32 / ITEM_READ as u32) & 1;
            exec::add_flag(&raw mut exec.flags, is_cut, wire::EXEC_ARGV_TRUNCATED);
            len.write_volatile(written as u32 + copied as u32);
            exec.argc = index as u32 + 1;
        }
    }
    exec.flags |= flags;
    // SAFETY: a field of our own record.
    let written = unsafe { len.read_volatile() };
    exec.argv_true_len = written;
    let written = written as usize;
    from + if written > ARGV_ROOM + ITEM_READ {
        ARGV_ROOM + ITEM_READ
    } else {
        written
    }
}
