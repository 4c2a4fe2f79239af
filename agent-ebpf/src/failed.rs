//! `sys_exit_execve` and `sys_exit_execveat`: a program was to be executed and did not start.
//!
//! The kernel's tracepoints of single system calls leave out calls through the 32-bit table (`int
//! 0x80`) and the x32 table. `sys_exit`, at the end of all system calls, finds these.
//!
//! These are the only probes on system calls. They slow every system call of the host a little, so
//! they are attached only while a session is open. Name and argv are the caller's memory after the
//! call, which another thread may have changed; the attempt and its errno come from the kernel.

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
        generated::{
            bpf_get_current_task_btf, bpf_probe_read_user, bpf_probe_read_user_str,
            bpf_task_pt_regs,
        },
    },
    macros::{btf_tracepoint, tracepoint},
    programs::{BtfTracePointContext, TracePointContext},
};
use vctl_common::layout::{
    COMPAT_AT, COMPAT_BIT, NR_COMPAT_EXECVE, NR_COMPAT_EXECVEAT, NR_EXECVEAT, NR_X32_EXECVE,
    NR_X32_EXECVEAT, REGS_ARG0, REGS_ARG1, REGS_ARG2, REGS_COMPAT_ARG0, REGS_COMPAT_ARG1,
    REGS_COMPAT_ARG2, REGS_NR,
};
use vctl_common::wire::{self, Exec, PATH_MAX};

use crate::exec;
use crate::kernel::{Kernel, layout, load_at, peek};
use crate::maps::{FAILED_SCRATCH, FAILED_TAIL, FailedScratch};
use crate::path::{self, LEN_MASK, Path};
use crate::phase::{self, Step};
use crate::session::{self, Owner};
use crate::task;

/// Offset of the system call's number, behind the common fields.
const CALL: usize = 8;
/// Offset of its result.
const RESULT: usize = 16;
/// Number of argv items that are read.
const ITEMS_MAX: usize = 64;
/// Longest item that is copied whole.
const ITEM_MAX: usize = 1024;
/// Bytes of argv after which no further item is copied.
const ARGV_ROOM: usize = FAILED_TAIL - (LEN_MASK + PATH_MAX) - ITEM_MAX;

/// One program for both calls, attached twice: the kernel takes half as long to verify it.
#[tracepoint]
pub fn exec_failed(ctx: TracePointContext) -> u32 {
    // SAFETY: the tracepoint's format.
    let call = unsafe { *ctx.as_ptr().byte_add(CALL).cast::<i32>() };
    let at = call as usize == layout(NR_EXECVEAT);
    failed(&ctx, at);
    0
}

#[inline(always)]
fn failed(ctx: &TracePointContext, at: bool) {
    // SAFETY: the tracepoint's format.
    let result: i64 = unsafe { *ctx.as_ptr().byte_add(RESULT).cast::<i64>() };
    if result >= 0 {
        return;
    }
    // SAFETY: the helper has no conditions.
    let task = unsafe { bpf_get_current_task_btf() } as *const Kernel;
    // SAFETY: the running task.
    let Some(mut owner) = (unsafe { session::owner(task, session::current_tgid()) }) else {
        return;
    };
    // The process continues with its old program. SAFETY: as above.
    unsafe { phase::decide(&mut owner, task, Step::Fork) };
    // SAFETY: the helper takes such a task.
    let regs = unsafe { bpf_task_pt_regs(task as *mut _) } as u64;
    // execveat(2) has a descriptor in front of name and argv.
    let (name, argv) = if at {
        (REGS_ARG1, REGS_ARG2)
    } else {
        (REGS_ARG0, REGS_ARG1)
    };
    let name = peek(regs, layout(name));
    let argv = peek(regs, layout(argv));
    // SAFETY: as above.
    unsafe { record::<8>(task, name, argv, (-result) as u32, &owner) };
}

/// Execs of the 32-bit and x32 tables, whose pointers have 32 bits. Runs at the end of every system
/// call, so it returns at once when the call has not failed.
#[btf_tracepoint(function = "sys_exit")]
pub fn compat_failed(ctx: BtfTracePointContext) -> i32 {
    // The tracepoint's arguments are the registers and the result.
    let result = ctx.arg::<u64>(1) as i64;
    if result < 0 {
        compat(ctx.arg(0), (-result) as u32);
    }
    0
}

#[inline(always)]
fn compat(regs: *const Kernel, errno: u32) {
    // SAFETY: the verifier knows the type of `regs`.
    let call = unsafe { load_at::<u32>(regs, layout(REGS_NR)) } as usize;
    // execveat(2) has a descriptor in front of name and argv.
    let (name, argv, is_32_bit) = if call == layout(NR_COMPAT_EXECVE) {
        (REGS_COMPAT_ARG0, REGS_COMPAT_ARG1, true)
    } else if call == layout(NR_COMPAT_EXECVEAT) {
        (REGS_COMPAT_ARG1, REGS_COMPAT_ARG2, true)
    } else if call == layout(NR_X32_EXECVE) {
        (REGS_ARG0, REGS_ARG1, false)
    } else if call == layout(NR_X32_EXECVEAT) {
        (REGS_ARG1, REGS_ARG2, false)
    } else {
        return;
    };
    // SAFETY: the helper has no conditions.
    let task = unsafe { bpf_get_current_task_btf() } as *const Kernel;
    // In the native table, the same number is another call.
    // SAFETY: the running task.
    let mode = unsafe { load_at::<u32>(task, layout(COMPAT_AT)) } as usize;
    if is_32_bit && mode & layout(COMPAT_BIT) == 0 {
        return;
    }
    // SAFETY: the running task.
    let Some(mut owner) = (unsafe { session::owner(task, session::current_tgid()) }) else {
        return;
    };
    // The process continues with its old program. SAFETY: as above.
    unsafe { phase::decide(&mut owner, task, Step::Fork) };
    let name = peek(regs as u64, layout(name)) & 0xffff_ffff;
    let argv = peek(regs as u64, layout(argv)) & 0xffff_ffff;
    // SAFETY: as above.
    unsafe { record::<4>(task, name, argv, errno, &owner) };
}

/// Writes the record. `WIDTH` is the size of the caller's pointers.
///
/// # Safety
/// `task` is the running task.
#[inline(always)]
unsafe fn record<const WIDTH: u64>(task: *const Kernel, name: u64, argv: u64, errno: u32, owner: &Owner) {
    let (Some(place), Some(scratch)) = (session::place(owner), FAILED_SCRATCH.get_ptr_mut(0))
    else {
        return;
    };
    // SAFETY: this CPU's scratch; see `exec`.
    let scratch: &mut FailedScratch = unsafe { &mut *scratch };
    let exec = &mut scratch.exec;
    let tail = scratch.tail.as_mut_ptr();
    let walk = &raw mut scratch.walk;
    // SAFETY: the helpers have no conditions.
    let (at, cpu, tid) = unsafe {
        let tid = aya_ebpf::helpers::bpf_get_current_pid_tgid() as u32;
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
        let written = path::append(exec::cwd(task), Path::NONE, tail, walk);
        let cwd_len = written.first;
        exec.cwd_len = cwd_len as u16;
        exec::add_flag(flags, written.first_truncated, wire::EXEC_CWD_TRUNCATED);
        let to = tail.add(cwd_len);
        let copied = bpf_probe_read_user_str(to.cast(), PATH_MAX as u32, name as *const _);
        let end = cwd_len + exec::name_len(copied, &raw mut exec.filename_len);
        items::<WIDTH>(argv, exec, tail, end)
    };
    // SAFETY: `end` is at most the size of the tail, which follows the record.
    unsafe { place.submit((&raw mut *scratch).cast(), end, at) };
}

/// Copies the items of argv to `from`, one after the other, and returns the end of the last one.
///
/// # Safety
/// `tail` has `FAILED_TAIL` bytes, and `from` is at most half of that.
#[inline(always)]
unsafe fn items<const WIDTH: u64>(argv: u64, exec: &mut Exec, tail: *mut u8, from: usize) -> usize {
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
            let at = argv + index as u64 * WIDTH;
            if bpf_probe_read_user((&raw mut item).cast(), WIDTH as u32, at as *const _) != 0 || item == 0 {
                flags = 0;
                break;
            }
            let written = len.read_volatile() as usize;
            if written > ARGV_ROOM {
                break;
            }
            let to = tail.add(from + written);
            let mut copied = bpf_probe_read_user_str(to.cast(), ITEM_MAX as u32, item as *const _);
            // Linux 6.1 returns 0 for an empty string and not 1, the length of its NUL.
            if copied == 0 {
                to.write_volatile(0);
                copied = 1;
            }
            if copied <= 0 || copied > ITEM_MAX as i64 {
                flags = wire::EXEC_ARGV_FAULT;
                break;
            }
            len.write_volatile(written as u32 + copied as u32);
            exec.argc = index as u32 + 1;
        }
    }
    exec.flags |= flags;
    // SAFETY: a field of our own record.
    let written = unsafe { len.read_volatile() };
    exec.argv_true_len = written;
    let written = written as usize;
    from + if written > ARGV_ROOM + ITEM_MAX {
        ARGV_ROOM + ITEM_MAX
    } else {
        written
    }
}
