//! `sched_process_exec`: a process has started a new program. At this point no thread of the old
//! program can change argv any more.

use aya_ebpf::{
    helpers::{
        bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
        generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
    },
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use vctl_common::layout::Field;
use vctl_common::wire::{self, ARGV_MAX, Exec, PATH_MAX};

use crate::copies;
use crate::kernel::{Kernel, load};
use crate::maps::{EXEC_SCRATCH, ExecScratch};
use crate::path::{self, First, LEN_MASK, Path, Walk};
use crate::phase::{self, Step};
use crate::session::{self, Owner};
use crate::task;

#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_exec(ctx: BtfTracePointContext) -> i32 {
    let task: *const Kernel = ctx.arg(0);
    let tgid = session::current_tgid();
    // SAFETY: the tracepoint's first argument is the task.
    if let Some(mut owner) = unsafe { session::owner_or_late(task, tgid) } {
        // SAFETY: as above.
        if !unsafe { copies::takes_exec(task, tgid) } {
            return 0;
        }
        // SAFETY: as above.
        unsafe { phase::decide(&mut owner, task, Step::Exec) };
        // SAFETY: its second is the thread that called exec, its third the `linux_binprm`.
        unsafe { record(task, ctx.arg(1), ctx.arg(2), &owner) };
    }
    0
}

/// # Safety
/// `task` and `bprm` are the arguments of the tracepoint.
#[inline(always)]
unsafe fn record(task: *const Kernel, tid: u32, bprm: *const Kernel, owner: &Owner) {
    // SAFETY: the helper has no conditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let (Some(place), Some(scratch)) = (session::place(owner), EXEC_SCRATCH.get_ptr_mut(cpu))
    else {
        return;
    };
    // SAFETY: no other program writes this CPU's scratch space: the kernel does not run this
    // program twice on one CPU, and counts each run that it skips for that reason. A second copy
    // has a map of its own.
    let scratch: &mut ExecScratch = unsafe { &mut *scratch };
    let exec = &mut scratch.exec;
    // SAFETY: the helper has no conditions.
    let at = unsafe { bpf_ktime_get_boot_ns() };
    exec.header = place.header(owner, wire::KIND_EXEC, 0, at, cpu);
    exec.tid = tid;
    exec.errno = 0;
    let tail = scratch.tail.as_mut_ptr();
    let walk = &raw mut scratch.walk;
    // SAFETY: the caller guarantees it.
    let end = unsafe {
        exec.comm = load(task, Field::TaskComm);
        task::describe(task, exec);
        // In memory and not in a register, like all data that decides the path: see `path::append`.
        (&raw mut exec.flags).write_volatile(phase::of(owner) << wire::EXEC_PHASE_SHIFT);
        let end = program(task, bprm, exec, tail, walk);
        argv(task, exec, tail, end)
    };
    // SAFETY: `end` is at most the size of the tail, which follows the record.
    unsafe { place.submit((&raw mut *scratch).cast(), end, at) };
}

/// Writes executable, working directory and file name, and returns where they end.
///
/// # Safety
/// As [`record`].
#[inline(always)]
unsafe fn program(
    task: *const Kernel,
    bprm: *const Kernel,
    exec: &mut Exec,
    tail: *mut u8,
    walk: *mut Walk,
) -> usize {
    // SAFETY: pointers from the tracepoint's arguments; `tail` has `TAIL_PATHS` bytes.
    unsafe {
        let flags = &raw mut exec.flags;
        let file: *const Kernel = load(bprm, Field::BprmFile);
        let inode: *const Kernel = load(file, Field::FileInode);
        let superblock: *const Kernel = load(inode, Field::InodeSb);
        exec.exe_inode = load(inode, Field::InodeIno);
        exec.exe_links = load(inode, Field::InodeNlink);
        exec.exe_device = load(superblock, Field::SbDev);
        let dentry: *const Kernel = load(file, Field::FileDentry);
        let mnt: *const Kernel = load(file, Field::FileMnt);
        let exe = First::of(mnt, dentry);
        if exec.exe_links == 0 {
            let memfd = exe.is_own_parent();
            let flag = if memfd {
                wire::EXEC_MEMFD
            } else {
                wire::EXEC_DELETED
            };
            flags.write_volatile(flags.read_volatile() | flag);
        }
        let (mnt, dentry) = cwd(task);
        let pwd = Path {
            mnt: mnt as u64,
            dentry: dentry as u64,
        };
        let written = path::append(exe, pwd, tail, walk);
        exec.exe_len = written.first as u16;
        exec.cwd_len = written.second as u16;
        add_flag(flags, written.first_truncated, wire::EXEC_EXE_TRUNCATED);
        add_flag(flags, written.second_truncated, wire::EXEC_CWD_TRUNCATED);

        let filename: u64 = load(bprm, Field::BprmFilename);
        let interp: u64 = load(bprm, Field::BprmInterp);
        add_flag(flags, (filename != interp) as u32, wire::EXEC_SCRIPT);
        // Read from memory again, as in `path::append`.
        let end = length(&raw const exec.exe_len) + length(&raw const exec.cwd_len);
        let name = tail.add(end);
        let copied = bpf_probe_read_kernel_str(name.cast(), PATH_MAX as u32, filename as *const _);
        let len = name_len(copied, &raw mut exec.filename_len);
        exec.argc = load(bprm, Field::BprmArgc);
        end + len
    }
}

/// # Safety
/// `len` points into the record.
#[inline(always)]
unsafe fn length(len: *const u16) -> usize {
    // SAFETY: the caller guarantees it.
    unsafe { len.read_volatile() as usize & LEN_MASK }
}

/// Sets a flag when `yes` is 1; `yes` is 0 or 1.
///
/// # Safety
/// `flags` points into the record.
#[inline(always)]
pub unsafe fn add_flag(flags: *mut u32, yes: u32, flag: u32) {
    // SAFETY: the caller guarantees it.
    unsafe { flags.write_volatile(flags.read_volatile() | yes.wrapping_neg() & flag) };
}

/// Stores the length of a name, computed from the return value of the copying helper, and returns
/// it.
///
/// # Safety
/// `len` points into the record.
#[inline(always)]
pub unsafe fn name_len(copied: i64, len: *mut u16) -> usize {
    // The return value counts the NUL, which is not part of the name; an error is negative.
    let name = if copied > 0 { copied as u16 - 1 } else { 0 };
    // SAFETY: the caller guarantees it; through memory, as in `path::append`.
    unsafe {
        len.write_volatile(name);
        len.read_volatile() as usize & (PATH_MAX - 1)
    }
}

/// Returns the mount and the dentry of a task's working directory.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn cwd(task: *const Kernel) -> (*const Kernel, *const Kernel) {
    // SAFETY: pointers from such a task.
    unsafe {
        let fs: *const Kernel = load(task, Field::TaskFs);
        (load(fs, Field::FsPwdMnt), load(fs, Field::FsPwdDentry))
    }
}

/// Copies argv from the new program's memory to `end`, and returns the end of the copy.
///
/// # Safety
/// As [`record`].
#[inline(always)]
unsafe fn argv(task: *const Kernel, exec: &mut Exec, tail: *mut u8, end: usize) -> usize {
    exec.argv_len = 0;
    exec.argv_true_len = 0;
    // SAFETY: pointers from the tracepoint's argument.
    let (from, to): (u64, u64) = unsafe {
        let mm: *const Kernel = load(task, Field::TaskMm);
        if mm.is_null() {
            return end;
        }
        (load(mm, Field::MmArgStart), load(mm, Field::MmArgEnd))
    };
    let true_len = to.wrapping_sub(from);
    exec.argv_true_len = true_len as u32;
    let wanted = if true_len > ARGV_MAX as u64 {
        exec.flags |= wire::EXEC_ARGV_TRUNCATED;
        ARGV_MAX
    } else {
        true_len as usize
    };
    // SAFETY: `end` is at most `TAIL_PATHS`, and `ARGV_MAX` bytes follow.
    let whole =
        unsafe { bpf_probe_read_user(tail.add(end).cast(), wanted as u32, from as *const _) };
    let copied = if whole == 0 {
        wanted
    } else {
        exec.flags |= wire::EXEC_ARGV_FAULT;
        // SAFETY: as above.
        unsafe { argv_by_page(tail.add(end), wanted, from) }
    };
    exec.argv_len = copied as u32;
    end + copied
}

/// Copies the beginning of argv up to the first page that is not in memory. Each step is half as
/// long as the one before, so that a missing page costs at most the rest of one step and the
/// verifier has few paths to check.
///
/// # Safety
/// `to` has room for `ARGV_MAX` bytes.
#[inline(always)]
unsafe fn argv_by_page(to: *mut u8, wanted: usize, from: u64) -> usize {
    const STEPS: [usize; 6] = [64 << 10, 32 << 10, 16 << 10, 8 << 10, 4 << 10, 1 << 10];
    let mut copied = 0_usize;
    for step in STEPS {
        if copied + step <= wanted {
            // SAFETY: all steps together are shorter than `ARGV_MAX`.
            let read = unsafe {
                let at = from + copied as u64;
                bpf_probe_read_user(to.add(copied).cast(), step as u32, at as *const _)
            };
            if read == 0 {
                copied += step;
            }
        }
    }
    copied
}
