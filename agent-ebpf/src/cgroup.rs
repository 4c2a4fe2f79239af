//! `cgroup_attach_task`: a process of a session was moved to another cgroup. It stays marked; the
//! record of the move is evidence.

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use vctl_common::layout::Field;
use vctl_common::wire::{self, CgroupMove};

use crate::kernel::{Kernel, load};
use crate::maps::{NO_WAKEUP, RING, TASKS};
use crate::{phase, session};

#[btf_tracepoint(function = "cgroup_attach_task")]
pub fn cgroup_attach(ctx: BtfTracePointContext) -> i32 {
    let task: *const Kernel = ctx.arg(2);
    // SAFETY: the tracepoint's third argument is the group leader of the process that moves.
    let tgid: u32 = unsafe { load(task, Field::TaskTgid) };
    // SAFETY: as above.
    let Some(owner) = (unsafe { session::owner(task, tgid) }) else {
        return 0;
    };
    if owner.session == 0 {
        return 0;
    }
    let to: *const Kernel = ctx.arg(0);
    // SAFETY: its first argument is the cgroup that the process moves to.
    let root: *const Kernel = unsafe { load(to, Field::CgroupRoot) };
    // Hosts that use cgroup v1 and v2 report each move once for each hierarchy; only the v2 one
    // counts.
    // SAFETY: a pointer from that cgroup.
    if unsafe { load::<u32>(root, Field::CgroupRootHierarchy) } != 0 {
        return 0;
    }
    let by_tgid = session::current_tgid();
    let by_session = match TASKS.get_ptr(by_tgid) {
        // SAFETY: a live map value.
        Some(mark) => unsafe { (*mark).session },
        None => 0,
    };
    let Some(place) = session::place(&owner) else {
        return 0;
    };
    // SAFETY: the helpers have no conditions.
    let (at, cpu) = unsafe { (bpf_ktime_get_boot_ns(), bpf_get_smp_processor_id()) };
    let Some(mut entry) = RING.reserve::<CgroupMove>(0) else {
        place.lost(at);
        return 0;
    };
    entry.write(CgroupMove {
        header: place.header(
            &owner,
            wire::KIND_CGROUP_MOVE,
            size_of::<CgroupMove>(),
            at,
            cpu,
        ),
        // The tracepoint runs after the move. The previous record holds the cgroup that the process
        // left.
        from: 0,
        // SAFETY: pointers from that cgroup.
        to: unsafe { load(load::<*const Kernel>(to, Field::CgroupKn), Field::KernfsId) },
        by_session,
        by_tgid,
        phase: phase::of(&owner),
    });
    entry.submit(NO_WAKEUP);
    0
}
