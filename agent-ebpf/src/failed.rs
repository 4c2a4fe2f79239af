//! A program was to be executed and did not start.
//!
//! `exec_exit` runs at the exit of the kernel's functions for execve(2) and execveat(2), so it costs nothing but execs.
//! The agent attaches it where the kernel allows that. Elsewhere it attaches the two programs on system calls, only
//! while a session is open: they slow every system call of the host a little. The kernel's tracepoints of single
//! system calls leave out calls through the 32-bit table (`int 0x80`) and the x32 table. `sys_exit`, at the end of all
//! system calls, finds these.

use aya_ebpf::{
    EbpfContext,
    helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs},
    macros::{btf_tracepoint, fexit, tracepoint},
    programs::{BtfTracePointContext, FExitContext, TracePointContext},
};
use vctl_common::layout::{
    COMPAT_AT, COMPAT_BIT, NR_COMPAT_EXECVE, NR_COMPAT_EXECVEAT, NR_EXECVEAT, NR_X32_EXECVE,
    NR_X32_EXECVEAT, REGS_NR,
};

use crate::attempt::{self, Call};
use crate::kernel::{Kernel, layout, load_at};

/// Offset of the system call's number, behind the common fields.
const CALL: usize = 8;
/// Offset of its result.
const RESULT: usize = 16;

/// One program for all tables and both calls. The agent loads it once for each function of the kernel.
#[fexit]
pub fn exec_exit(ctx: FExitContext) -> i32 {
    // The function's only argument are the registers of the call; its result follows.
    let result = ctx.arg::<u64>(1) as i64;
    if result < 0 {
        let regs: *const Kernel = ctx.arg(0);
        // SAFETY: the verifier knows the type of `regs`.
        let number = unsafe { load_at::<u32>(regs, layout(REGS_NR)) } as usize;
        let call = match other_table(number) {
            Some(call) => call,
            None if number == layout(NR_EXECVEAT) => Call::EXECVEAT,
            None => Call::EXECVE,
        };
        attempt::record(regs as u64, call, (-result) as u32);
    }
    0
}

/// One program for both calls, attached twice: the kernel takes half as long to verify it.
#[tracepoint]
pub fn exec_failed(ctx: TracePointContext) -> u32 {
    // SAFETY: the tracepoint's format.
    let (number, result) = unsafe {
        let event = ctx.as_ptr();
        let number = *event.byte_add(CALL).cast::<i32>();
        (number as usize, *event.byte_add(RESULT).cast::<i64>())
    };
    if result < 0 {
        // SAFETY: the helpers take the running task.
        let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
        let call = if number == layout(NR_EXECVEAT) {
            Call::EXECVEAT
        } else {
            Call::EXECVE
        };
        attempt::record(regs, call, (-result) as u32);
    }
    0
}

/// Execs of the 32-bit and x32 tables. Runs at the end of every system call, so it returns at once when the call has
/// not failed.
#[btf_tracepoint(function = "sys_exit")]
pub fn compat_failed(ctx: BtfTracePointContext) -> i32 {
    // The tracepoint's arguments are the registers and the result.
    let result = ctx.arg::<u64>(1) as i64;
    if result < 0 {
        let regs: *const Kernel = ctx.arg(0);
        // SAFETY: the verifier knows the type of `regs`.
        let number = unsafe { load_at::<u32>(regs, layout(REGS_NR)) } as usize;
        if let Some(call) = other_table(number) {
            attempt::record(regs as u64, call, (-result) as u32);
        }
    }
    0
}

/// Returns the call of the 32-bit or x32 table that has this number.
#[inline(always)]
fn other_table(number: usize) -> Option<Call> {
    let call = if number == layout(NR_COMPAT_EXECVE) {
        Call::COMPAT_EXECVE
    } else if number == layout(NR_COMPAT_EXECVEAT) {
        Call::COMPAT_EXECVEAT
    } else if number == layout(NR_X32_EXECVE) {
        return Some(Call::X32_EXECVE);
    } else if number == layout(NR_X32_EXECVEAT) {
        return Some(Call::X32_EXECVEAT);
    } else {
        return None;
    };
    // In the native table, the same number is another call.
    // SAFETY: the running task.
    let mode = unsafe {
        let task = bpf_get_current_task_btf() as *const Kernel;
        load_at::<u32>(task, layout(COMPAT_AT))
    } as usize;
    (mode & layout(COMPAT_BIT) != 0).then_some(call)
}
