//! Two copies of the programs for fork, exec and exit, where the kernel may skip one.
//!
//! From Linux 7.0 on the kernel preempts tracepoints, and skips a program while a preempted task of the CPU is inside the
//! same program. The guard belongs to the loaded program. So the agent loads these programs a second time, and the
//! second copy handles an event for which the first one was skipped. An event that has been handled shows in the mark:
//! a fork has marked the child, an exit has removed the mark, and an exec is noted in the mark. The copies are equal, so
//! their order does not matter.

use vctl_common::layout::SELF_EXEC_ID;
use vctl_common::wire::EXEC_NOTED;

use crate::kernel::{Kernel, layout, load_at};
use crate::maps::TASKS;

/// 0: the only copy. 1 and 2: the first and the second of two. Set by the agent before the object is loaded.
#[unsafe(no_mangle)]
static COPY: u32 = 0;

#[inline(always)]
fn copy() -> u32 {
    // SAFETY: a static; volatile because the value is set after compilation.
    unsafe { core::ptr::read_volatile(&raw const COPY) }
}

/// Returns whether another copy of this program may run for the same event.
#[inline(always)]
pub fn is_one_of_two() -> bool {
    copy() != 0
}

/// Returns whether this copy ignores events that leave no trace in a mark.
#[inline(always)]
pub fn is_second() -> bool {
    copy() == 2
}

/// Notes the exec in the mark of the process. Returns whether this copy writes its record.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn takes_exec(task: *const Kernel, tgid: u32) -> bool {
    if !is_one_of_two() {
        return true;
    }
    // The kernel adds one at each exec.
    // SAFETY: the caller guarantees it.
    let id: u32 = unsafe { load_at(task, layout(SELF_EXEC_ID)) };
    let noted = id as u16 | EXEC_NOTED;
    let Some(mark) = TASKS.get_ptr_mut(tgid) else {
        // A process outside of all sessions, or the map is full.
        return !is_second();
    };
    // SAFETY: a live map value; no other task executes in this process.
    unsafe {
        let is_new = (*mark).noted_exec != noted;
        (*mark).noted_exec = noted;
        is_new
    }
}
