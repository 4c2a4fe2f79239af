//! `sched_process_exit`: one record per process, when its last thread exits. That thread need not
//! be the leader.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use vctl_common::layout::Field;
use vctl_common::wire::{self, Exit};

use crate::copies;
use crate::kernel::{Kernel, load};
use crate::maps::{NO_WAKEUP, RING, TASKS};
use crate::phase::{self, Step};
use crate::session::{self, Owner};
use crate::task;

/// `SIGNAL_GROUP_EXIT` of the kernel: the exit code is that of the group, not that of its leader.
const SIGNAL_GROUP_EXIT: u32 = 4;
/// `-ENOENT` of the map.
const ABSENT: i32 = -2;

#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exit(ctx: BtfTracePointContext) -> i32 {
    let task: *const Kernel = ctx.arg(0);
    let tgid = session::current_tgid();
    // SAFETY: the tracepoint's first argument is the task that exits.
    let Some(mut owner) = (unsafe { session::owner(task, tgid) }) else {
        return 0;
    };
    // Without a mark to remove, only one copy can write the record.
    if owner.session == 0 && copies::is_second() {
        return 0;
    }
    // SAFETY: pointers from such a task.
    let signal: *const Kernel = unsafe { load(task, Field::TaskSignal) };
    // SAFETY: as above.
    if unsafe { load::<u32>(signal, Field::SignalLive) } != 0 {
        return 0;
    }
    // SAFETY: as above.
    unsafe { phase::decide(&mut owner, task, Step::Exit) };
    // Two threads that exit together can both find no other thread alive. Only one of them can
    // remove the mark, and that one writes the record.
    if owner.session != 0
        && let Err(error) = TASKS.remove(tgid)
    {
        if error != ABSENT {
            unremoved(&owner);
        }
        return 0;
    }
    // SAFETY: as above.
    unsafe { record(task, signal, &owner) };
    0
}

/// Counts the exit as lost: the map is locked, or the kernel refuses the call for another reason. The mark stays, so the
/// process still counts as alive until the agent finds that it has ended.
#[inline(always)]
fn unremoved(owner: &Owner) {
    if let Some(place) = session::place(owner) {
        // SAFETY: the helper has no conditions.
        place.lost(unsafe { bpf_ktime_get_boot_ns() });
    }
}

/// # Safety
/// `task` is the tracepoint's argument, `signal` its `signal_struct`.
#[inline(always)]
unsafe fn record(task: *const Kernel, signal: *const Kernel, owner: &Owner) {
    let Some(place) = session::place(owner) else {
        return;
    };
    let alive = if owner.session == 0 {
        1
    } else {
        place.one_less()
    };
    // SAFETY: the helpers have no conditions.
    let (at, cpu) = unsafe { (bpf_ktime_get_boot_ns(), bpf_get_smp_processor_id()) };
    let Some(mut entry) = RING.reserve::<Exit>(0) else {
        place.lost(at);
        return;
    };
    // SAFETY: pointers from such a task.
    let exit = unsafe {
        let (ppid, parent_start) = task::parent(task);
        let flags: u32 = load(signal, Field::SignalFlags);
        let status: u32 = if flags & SIGNAL_GROUP_EXIT != 0 {
            load(signal, Field::SignalGroupExitCode)
        } else {
            load(
                load::<*const Kernel>(task, Field::TaskGroupLeader),
                Field::TaskExitCode,
            )
        };
        Exit {
            header: place.header(owner, wire::KIND_EXIT, size_of::<Exit>(), at, cpu),
            parent_start,
            ppid,
            status: status & 0xffff | phase::of(owner) << wire::EXIT_PHASE_SHIFT,
            alive,
            euid: load(
                load::<*const Kernel>(task, Field::TaskCred),
                Field::CredEuid,
            ),
        }
    };
    entry.write(exit);
    entry.submit(NO_WAKEUP);
}
