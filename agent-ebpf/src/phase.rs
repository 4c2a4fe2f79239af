//! Phase of a process: the user's work, or the work of sshd and PAM before and after it.
//!
//! sshd's login process runs PAM's hooks as its children, and the user's process is another child.
//! Only the user's process gets the user's identity: sshd calls setgroups(2) in it before it gives
//! up any right. It does so for root as well, although no user id changes there. So a child of the
//! login process belongs to the user as soon as its groups differ from those at its fork. A child
//! that executes a program before that is a hook. All these steps run code of sshd; below the
//! user's process nothing is decided.

use vctl_common::layout::Field;
use vctl_common::wire::{
    PHASE_LOGIN_SETUP, PHASE_LOGOUT, PHASE_USER, ROLE_LOGIN, ROLE_LOGOUT, ROLE_SETUP, ROLE_UNDECIDED,
    ROLE_USER, UNSET,
};

use crate::kernel::{Kernel, load};
use crate::maps::{SESSIONS, TASKS};
use crate::session::Owner;

/// The next step of a process at the moment its role is decided.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Fork,
    Exec,
    Exit,
}

/// Returns the role and groups that a child inherits from its parent.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn of_child(parent: &mut Owner, task: *const Kernel) -> (u32, u64) {
    if parent.role == ROLE_LOGIN {
        // SAFETY: the caller guarantees it.
        return (ROLE_UNDECIDED, unsafe { groups(task) });
    }
    // SAFETY: as above.
    unsafe { decide(parent, task, Step::Fork) };
    (parent.role, parent.groups)
}

/// Decides the role of a process as far as this step shows it.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn decide(owner: &mut Owner, task: *const Kernel, step: Step) {
    if owner.role == ROLE_USER || owner.role == ROLE_LOGIN {
        return;
    }
    // SAFETY: pointers from such a task.
    let (ruid, euid, login_uid): (u32, u32, u32) = unsafe {
        let cred: *const Kernel = load(task, Field::TaskCred);
        (
            load(cred, Field::CredUid),
            load(cred, Field::CredEuid),
            load(task, Field::TaskLoginuid),
        )
    };
    let role = if owner.role == ROLE_UNDECIDED {
        // SAFETY: the caller guarantees it.
        let has_groups = unsafe { groups(task) } != owner.groups;
        let is_root = ruid == 0 && euid == 0;
        // A program that PAM executes as the user is not the user's process; the user's own sshd
        // only forks.
        if has_groups && (is_root || step != Step::Exec) {
            begin(owner);
        }
        if has_groups || !is_root {
            ROLE_USER
        } else if step != Step::Exec {
            return;
        } else if has_begun(owner) {
            ROLE_LOGOUT
        } else {
            ROLE_SETUP
        }
    } else if login_uid != 0 && (is_user(ruid, login_uid) || is_user(euid, login_uid)) {
        // A file that a hook executes with the user's rights may be the user's own.
        ROLE_USER
    } else {
        return;
    };
    owner.role = role;
    owner.groups = 0;
    if let Some(mark) = TASKS.get_ptr_mut(owner.tgid) {
        // SAFETY: a live map value.
        unsafe {
            (*mark).role = role;
            (*mark).groups = 0;
        }
    }
}

/// Returns the phase for a record of the process.
#[inline(always)]
pub fn of(owner: &Owner) -> u32 {
    match owner.role {
        ROLE_SETUP => PHASE_LOGIN_SETUP,
        ROLE_LOGOUT => PHASE_LOGOUT,
        // The process was forked, and it ends or fails to execute a program before its role is
        // known.
        ROLE_UNDECIDED if has_begun(owner) => PHASE_LOGOUT,
        ROLE_UNDECIDED => PHASE_LOGIN_SETUP,
        _ => PHASE_USER,
    }
}

/// When the login's user is unknown, any user except root may be that user.
#[inline(always)]
fn is_user(uid: u32, login_uid: u32) -> bool {
    uid == login_uid || login_uid == UNSET && uid != 0
}

/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
unsafe fn groups(task: *const Kernel) -> u64 {
    // SAFETY: pointers from such a task.
    unsafe {
        let cred: *const Kernel = load(task, Field::TaskCred);
        load(cred, Field::CredGroups)
    }
}

#[inline(always)]
fn begin(owner: &Owner) {
    if let Some(session) = SESSIONS.get_ptr_mut(owner.session) {
        // SAFETY: a live map value; it is only ever set to 1.
        unsafe { (*session).user_began = 1 };
    }
}

#[inline(always)]
fn has_begun(owner: &Owner) -> bool {
    match SESSIONS.get_ptr(owner.session) {
        // SAFETY: a live map value.
        Some(session) => unsafe { (*session).user_began != 0 },
        None => false,
    }
}
