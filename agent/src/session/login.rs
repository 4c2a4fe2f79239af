//! The login process behind a stamp, as the kernel knows it.

use serde::{Deserialize, Serialize};
use vctl_common::id::{AuditSessionId, CgroupId, ProcessId};

use crate::proc::reader::{ProcError, ProcReader};

/// The kernel's facts about a login's own process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginFacts {
    /// With the start in the precision of /proc, as [`ProcReader::process`] returns it.
    pub leader: ProcessId,
    /// The kernel's login uid. For a login that is stamped in time, else that of the account.
    pub login_uid: Option<u32>,
    pub audit_session: Option<AuditSessionId>,
    pub cgroup: Option<CgroupId>,
}

#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Process(#[from] ProcError),
    /// The hook was orphaned or started by hand: its parent may be pid 1, and a mark there would mark the whole
    /// host.
    #[error("the parent of the hook is process {parent}, which is not a login")]
    NoLogin { parent: u32 },
}

/// Returns the process that opens the session: the parent of the stamper.
///
/// For sshd this is the privileged monitor, which forks the user's shell. The pid must come
/// from the socket's peer credentials, never from a message.
pub fn login_of(proc: &ProcReader, stamper: u32, user: &str) -> Result<LoginFacts, LoginError> {
    let parent = proc.stat(stamper)?.ppid;
    if parent <= 1 {
        return Err(LoginError::NoLogin { parent });
    }
    Ok(facts(proc, parent, user)?)
}

/// Returns the facts of the login process. Asks name services for the account when the kernel has no login
/// uid. These may hang, so the collector's loop must not call it.
fn facts(proc: &ProcReader, tgid: u32, user: &str) -> Result<LoginFacts, ProcError> {
    let facts = kernel_facts(proc, tgid)?;
    Ok(LoginFacts {
        login_uid: facts.login_uid.or_else(|| account_uid(user)),
        ..facts
    })
}

/// Returns the facts of the login process that the kernel has.
pub fn kernel_facts(proc: &ProcReader, tgid: u32) -> Result<LoginFacts, ProcError> {
    Ok(LoginFacts {
        leader: proc.process(tgid)?,
        login_uid: proc.login_uid(tgid),
        audit_session: proc.audit_session(tgid),
        cgroup: proc.cgroup(tgid),
    })
}

fn account_uid(user: &str) -> Option<u32> {
    let account = nix::unistd::User::from_name(user).ok()??;
    Some(account.uid.as_raw())
}

#[cfg(test)]
mod tests {
    use vctl_common::time::BootNs;

    use super::*;
    use crate::proc::fake_proc::FakeProc;

    #[test]
    fn the_login_is_the_parent_of_the_stamper() {
        let proc = FakeProc::new()
            .process(4242, 700, 500)
            .process(4243, 4242, 600);
        let facts = login_of(&proc.reader(), 4243, "nobody-here").unwrap();
        // 100 ticks a second.
        assert_eq!(
            facts.leader,
            ProcessId {
                tgid: 4242,
                start: BootNs(5_000_000_000)
            }
        );
        assert_eq!(facts.login_uid, Some(1000));
        assert_eq!(facts.audit_session, AuditSessionId::new(3));
        assert_eq!(facts.cgroup, Some(proc.cgroup()));
    }

    #[test]
    fn an_orphaned_stamper_marks_nothing() {
        for parent in [0, 1] {
            let proc = FakeProc::new().process(4243, parent, 600).process(1, 0, 1);
            let refused = login_of(&proc.reader(), 4243, "root").unwrap_err();
            assert!(matches!(refused, LoginError::NoLogin { .. }), "{refused}");
        }
    }

    #[test]
    fn an_unset_login_uid_falls_back_to_the_account() {
        let proc = FakeProc::new().process(4242, 700, 500);
        proc.write("4242/loginuid", "4294967295");
        proc.write("4242/sessionid", "4294967295");
        let facts = facts(&proc.reader(), 4242, "root").unwrap();
        assert_eq!((facts.login_uid, facts.audit_session), (Some(0), None));
    }

    #[test]
    fn this_very_process_can_be_read() {
        let reader = ProcReader::host();
        let us = kernel_facts(&reader, std::process::id()).unwrap().leader;
        assert!(reader.is_alive(us) && reader.boot_id().is_ok());
        assert!(us.start <= crate::session::boot_now());
    }
}
