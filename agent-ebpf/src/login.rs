//! Logins through sshd that no hook has stamped: whatever the reason, the sshd process of such a
//! login has no mark when it forks.
//!
//! pam_loginuid gives the privileged monitor of a connection its own audit session; the monitor's
//! parents are not in it. The monitor then forks for the PAM hook, and later for the user's own
//! process. Every shell, file transfer and forwarding needs these forks.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use vctl_common::layout::Field;
use vctl_common::wire::{LOGIN_SEEN, SSHD, SeenLogin, UNSET};

use crate::kernel::{Kernel, layout, load, load_at};
use crate::maps::{Counter, LOGINS};
use crate::session;

/// `BPF_NOEXIST`: the first fork of a login counts, and a refusal that was noted before stays.
const IF_NEW: u64 = 1;

/// Notes `task` when it is sshd's monitor of a login. The caller found that it forks and is not the
/// login process of a stamped login.
///
/// # Safety
/// `task` is a `struct task_struct` the verifier trusts.
#[inline(always)]
pub unsafe fn note(task: *const Kernel, tgid: u32) {
    // SAFETY: pointers from such a task.
    unsafe {
        let audit_session: u32 = load(task, Field::TaskSessionid);
        if audit_session == UNSET || load::<u32>(task, Field::TaskComm) != u32::from_ne_bytes(SSHD)
        {
            return;
        }
        let cred: *const Kernel = load(task, Field::TaskCred);
        let parent: *const Kernel = load(task, Field::TaskRealParent);
        // Any user can name a process `sshd`, and the user's own sshd has the same audit session as
        // the monitor.
        if load::<u32>(cred, Field::CredEuid) != 0
            || load::<u32>(parent, Field::TaskSessionid) == audit_session
        {
            return;
        }
        let listener =
            |at: usize| -> u64 { load_at(parent, layout(Field::TaskComm as usize) + at) };
        let [low, high] = [listener(0).to_ne_bytes(), listener(8).to_ne_bytes()];
        let mut name = [0; 16];
        name[..8].copy_from_slice(&low);
        name[8..].copy_from_slice(&high);
        let seen = SeenLogin {
            at: bpf_ktime_get_boot_ns(),
            start: session::process_start(task),
            tgid,
            login_uid: load(task, Field::TaskLoginuid),
            state: LOGIN_SEEN,
            reserved: 0,
            listener: name,
        };
        if LOGINS.insert(audit_session, seen, IF_NEW).is_err()
            && LOGINS.get_ptr(audit_session).is_none()
        {
            session::count(Counter::LoginsFull);
        }
    }
}
