//! Processes without a mark of a login that was stamped late: it had started them before the agent marked it.
//!
//! The agent marks them from lists of /proc, and a process can fork and exit between two looks at a list. So before
//! it lists, the agent enters the login's audit session here. From then on an unmarked process of that audit session
//! gets its mark when it forks or executes: whatever the lists miss has forked before the entry, or is listed.

use vctl_common::layout::Field;
use vctl_common::wire::{MARKED_AUDIT_SESSION, ROLE_USER, UNSET};

use crate::kernel::{Kernel, load};
use crate::maps::{LATE_MARKS, SESSIONS};
use crate::session::{self, Owner};

/// Marks `task`, which has no mark, if its login was stamped late. Returns whether it did.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn mark(task: *const Kernel, tgid: u32) -> bool {
    // SAFETY: the caller guarantees it.
    let audit_session: u32 = unsafe { load(task, Field::TaskSessionid) };
    if audit_session == UNSET {
        return false;
    }
    let Some(session) = LATE_MARKS.get_ptr(audit_session) else {
        return false;
    };
    // SAFETY: a live map value, which the agent replaces as a whole.
    let session = unsafe { *session };
    // The agent makes the entry first, and removes it last.
    if SESSIONS.get_ptr(session).is_none() {
        return false;
    }
    let owner = Owner {
        session,
        marked: MARKED_AUDIT_SESSION,
        role: ROLE_USER,
        groups: 0,
        tgid,
        // SAFETY: the caller guarantees it.
        start: unsafe { session::process_start(task) },
    };
    session::inherit(&owner, owner.role, owner.groups, tgid, owner.start);
    true
}
