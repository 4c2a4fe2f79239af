//! `sched_process_fork`: gives the parent's mark to the child before the child can run.
//!
//! Writes no record: the exit record of a process also shows that it was forked. A parent without a
//! mark may be a login that was not stamped. So may a marked one: an sshd that was started inside a
//! session has that session's mark, and each login inherits it. A
//! parent of a login that was stamped late gets the mark here ([`crate::late`]).

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use vctl_common::layout::Field;
use vctl_common::wire::ROLE_USER;

use crate::kernel::{Kernel, load};
use crate::{copies, login, phase, session};

#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_fork(ctx: BtfTracePointContext) -> i32 {
    let parent: *const Kernel = ctx.arg(0);
    let parent_tgid = session::current_tgid();
    // SAFETY: the tracepoint's first argument is the parent, which is the running task.
    let mut owner = match unsafe { session::owner_or_late(parent, parent_tgid) } {
        Some(owner) if owner.session != 0 => owner,
        _ => {
            // SAFETY: as above.
            unsafe { login::note(parent, parent_tgid) };
            return 0;
        }
    };
    if owner.role == ROLE_USER {
        // SAFETY: as above.
        unsafe { login::note(parent, parent_tgid) };
    }
    let child: *const Kernel = ctx.arg(1);
    // SAFETY: its second argument is the child.
    let (tgid, start): (u32, u64) =
        unsafe { (load(child, Field::TaskTgid), load(child, Field::TaskStart)) };
    // A new thread belongs to the same process.
    let is_thread = tgid == parent_tgid;
    if !is_thread && !(copies::is_one_of_two() && session::is_marked(tgid, start)) {
        // SAFETY: the parent is the running task.
        let (role, groups) = unsafe { phase::of_child(&mut owner, parent) };
        session::inherit(&owner, role, groups, tgid, start);
    }
    0
}
