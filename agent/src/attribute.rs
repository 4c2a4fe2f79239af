//! The session of an event, and the evidence against it. Pure.
//!
//! The mark decides: only fork passes it on. A process can change its audit session and cgroup, so they never
//! assign an event to another session; a difference is recorded.

use vctl_common::id::{AuditSessionId, CgroupId};
use vctl_common::wire::{self, Exec};

use crate::session::registry::{LiveSession, Registry};

/// Returns the `EXEC_OTHER_*` flags for an exec of `session`.
pub fn disagreements(exec: &Exec, session: &LiveSession, registry: &Registry) -> u32 {
    let mut flags = 0;
    let audit_session = AuditSessionId::new(exec.audit_session);
    if session.opened.audit_session.is_some() && audit_session != session.opened.audit_session {
        flags |= wire::EXEC_OTHER_AUDIT_SESSION;
    }
    let cgroup = CgroupId(exec.cgroup);
    if session.opened.cgroup != Some(cgroup) {
        let owner = registry.cgroup_owner(cgroup);
        if owner.is_some_and(|owner| owner != exec.header.session) {
            flags |= wire::EXEC_OTHER_CGROUP;
        }
    }
    flags
}
