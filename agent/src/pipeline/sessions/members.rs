//! The processes that belong to a login, among those of the host.

use std::collections::HashSet;

use vctl_common::id::{AuditSessionId, ProcessId};
use vctl_common::wire;

use crate::probe::Probe;
use crate::proc::process_table::{Listed, ProcessTable};
use crate::proc::reader::ProcReader;

/// The facts of a login by which its processes are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login {
    /// Its own process, which may have ended.
    pub(super) tgid: u32,
    pub(super) start_ticks: u64,
    /// `None` also when the audit session is not that of the login alone.
    pub(super) audit_session: Option<AuditSessionId>,
}

/// Returns whether the audit session is that of the login alone: no process in it is older than the login's own.
///
/// pam_loginuid gives each login its own, unless the login uid is set to the same account already. So a login through
/// an sshd that was started inside another session shares that session's, also with the sshd itself and with the
/// logins of other people to the account.
pub(super) fn owns(
    leader: ProcessId,
    audit_session: AuditSessionId,
    table: &ProcessTable,
    proc: &ProcReader,
) -> bool {
    !table.has_older(audit_session, proc.ticks(leader.start))
}

/// Returns the processes of a login that have not ended, each with the reason for its mark.
pub(super) fn members(login: Login, table: &ProcessTable) -> Vec<(&Listed, u16)> {
    let of_audit_session = login.audit_session.map(|id| table.of_audit_session(id));
    // The last one first: it forks next, if it forks and exits all the time.
    let of_audit_session = of_audit_session.unwrap_or_default().iter().rev();
    let mut members: Vec<(&Listed, u16)> = of_audit_session
        .filter_map(|tgid| Some((table.get(*tgid)?, wire::MARKED_AUDIT_SESSION)))
        .collect();
    // Below pid 1 is the whole host.
    let own = Some(login.tgid).filter(|tgid| *tgid > 1);
    let own = own.and_then(|tgid| table.get(tgid)).filter(|process| {
        !process.stat.is_exiting && process.stat.start_ticks == login.start_ticks
    });
    let below = own.map_or_else(Vec::new, |own| table.tree(own.tgid));
    let below = below.iter().filter_map(|tgid| table.get(*tgid));
    let is_new = |process: &&Listed| {
        login.audit_session.is_none() || process.audit_session != login.audit_session
    };
    let below = below.filter(is_new);
    members.extend(below.map(|process| (process, wire::MARKED_TREE)));
    members.retain(|(process, _)| !process.stat.is_exiting);
    members
}

/// Returns the audit sessions with a process that has no mark.
pub(super) fn unmarked_audit_sessions(
    table: &ProcessTable,
    probe: &Probe,
) -> HashSet<AuditSessionId> {
    let running = table.iter().filter(|process| !process.stat.is_exiting);
    let unmarked = running.filter(|process| probe.maps.task(process.tgid).is_none());
    unmarked
        .filter_map(|process| process.audit_session)
        .collect()
}

#[cfg(test)]
mod tests {
    use vctl_common::time::BootNs;
    use vctl_common::wire::{MARKED_AUDIT_SESSION, MARKED_TREE};

    use super::*;
    use crate::proc::stat::Stat;

    /// Start and audit session of the login.
    const START: u64 = 500;
    const OWN: u32 = 3;

    fn process(tgid: u32, ppid: u32, start_ticks: u64, audit_session: u32) -> Listed {
        let stat = Stat {
            ppid,
            start_ticks,
            is_zombie: false,
            is_exiting: false,
        };
        Listed {
            tgid,
            stat,
            audit_session: AuditSessionId::new(audit_session),
        }
    }

    fn exiting(process: Listed) -> Listed {
        let stat = Stat {
            is_exiting: true,
            ..process.stat
        };
        Listed { stat, ..process }
    }

    /// Returns the members of the login of process 70.
    fn found(processes: Vec<Listed>, audit_session: Option<u32>) -> Vec<(u32, u16)> {
        let login = Login {
            tgid: 70,
            start_ticks: START,
            audit_session: audit_session.and_then(AuditSessionId::new),
        };
        let table: ProcessTable = processes.into_iter().collect();
        let members = members(login, &table).into_iter();
        members.map(|(process, how)| (process.tgid, how)).collect()
    }

    #[test]
    fn a_login_has_its_audit_session_and_its_tree() {
        let processes = vec![
            process(1, 0, 1, 9),
            process(70, 1, START, OWN),
            process(71, 70, 501, OWN),
            process(72, 71, 502, 4),
            process(73, 1, 503, OWN),
            exiting(process(74, 71, 504, OWN)),
            process(75, 1, 505, 4),
        ];
        let of_session = |tgid| (tgid, MARKED_AUDIT_SESSION);
        let own = [73, 71, 70].map(of_session);
        let all = [&own[..], &[(72, MARKED_TREE)]].concat();
        assert_eq!(found(processes.clone(), Some(OWN)), all);
        let tree = [70, 71, 72].map(|tgid| (tgid, MARKED_TREE));
        assert_eq!(found(processes, None), tree);
    }

    #[test]
    fn an_ended_login_has_only_its_background_work() {
        let work = process(73, 1, 503, OWN);
        let only_work = [(73, MARKED_AUDIT_SESSION)];
        assert_eq!(found(vec![work], Some(OWN)), only_work);
        // Another process has the pid now, with a child.
        let reused = vec![process(70, 1, 900, 8), process(71, 70, 901, 8), work];
        assert_eq!(found(reused.clone(), Some(OWN)), only_work);
        assert_eq!(found(reused, None), []);
    }

    #[test]
    fn an_audit_session_with_an_older_process_is_not_the_logins_own() {
        let proc = ProcReader::host();
        let leader = ProcessId {
            tgid: 70,
            // 500 ticks, as the probe has it.
            start: BootNs(5_003_000_000),
        };
        let own = AuditSessionId::new(OWN).unwrap();
        let owns = |others: &[Listed]| {
            let login = process(70, 1, START, OWN);
            let table: ProcessTable = others.iter().copied().chain([login]).collect();
            owns(leader, own, &table, &proc)
        };
        assert!(owns(&[
            process(69, 1, START, OWN),
            process(71, 70, 501, OWN)
        ]));
        assert!(owns(&[process(60, 1, 499, 4)]));
        assert!(!owns(&[process(60, 1, 499, OWN)]));
    }
}
