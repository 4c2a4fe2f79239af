//! The processes that belong to a login, among those of the host.

use std::collections::HashSet;

use vctl_common::id::{AuditSessionId, ProcessId};
use vctl_common::session::SessionOpened;
use vctl_common::wire;

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

/// A process of a login.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    pub(super) process: &'a Listed,
    /// The reason for its mark.
    pub(super) how: u16,
    /// It is the login's own process, or one below it.
    pub(super) is_below: bool,
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

/// Returns the processes of a login that have not ended.
pub(super) fn members(login: Login, table: &ProcessTable) -> Vec<Member<'_>> {
    // Below pid 1 is the whole host.
    let own = Some(login.tgid).filter(|tgid| *tgid > 1);
    let own = own.and_then(|tgid| table.get(tgid)).filter(|process| {
        !process.stat.is_exiting && process.stat.start_ticks == login.start_ticks
    });
    let tree = own.map_or_else(Vec::new, |own| table.tree(own.tgid));
    let below: HashSet<u32> = tree.iter().copied().collect();
    let of_audit_session = login.audit_session.map(|id| table.of_audit_session(id));
    // The last one first: it forks next, if it forks and exits all the time.
    let of_audit_session = of_audit_session.unwrap_or_default().iter().rev();
    let of_audit_session = of_audit_session.map(|tgid| (*tgid, wire::MARKED_AUDIT_SESSION));
    let is_new = |process: &Listed| {
        login.audit_session.is_none() || process.audit_session != login.audit_session
    };
    let of_tree = tree
        .iter()
        .filter(|tgid| table.get(**tgid).is_some_and(is_new));
    let of_tree = of_tree.map(|tgid| (*tgid, wire::MARKED_TREE));
    let members = of_audit_session.chain(of_tree).filter_map(|(tgid, how)| {
        Some(Member {
            process: table.get(tgid)?,
            how,
            is_below: below.contains(&tgid),
        })
    });
    members
        .filter(|member| !member.process.stat.is_exiting)
        .collect()
}

/// Returns whether a login that began at `start_ticks` has to replace the mark of another login on one of its processes.
///
/// An sshd that was started inside a login passes the mark of that login on to each login through it. Another audit
/// session proves it; else the tree does. Below a login are only its own processes and those of logins inside of it,
/// which began later.
pub(super) fn is_passed_on(
    member: Member<'_>,
    login: Login,
    other: &SessionOpened,
    other_start_ticks: u64,
) -> bool {
    let has_other_audit_session =
        member.how == wire::MARKED_AUDIT_SESSION && other.audit_session != login.audit_session;
    // The beginning of a session that was found by its marks is not known.
    let is_known = other.leader.tgid != 0;
    let is_around = is_known && other_start_ticks < login.start_ticks;
    has_other_audit_session || member.is_below && is_around
}

#[cfg(test)]
mod tests {
    use vctl_common::id::SessionId;
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
        members
            .map(|member| (member.process.tgid, member.how))
            .collect()
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
    fn a_login_replaces_only_the_marks_of_logins_around_it() {
        let process = process(72, 71, 502, OWN);
        let is_passed_on = |how, is_below, audit_session, (leader, start_ticks)| {
            let login = Login {
                tgid: 70,
                start_ticks: START,
                audit_session,
            };
            let member = Member {
                process: &process,
                how,
                is_below,
            };
            let mut other = SessionOpened::unknown(SessionId::generate(), BootNs(1));
            other.leader.tgid = leader;
            other.audit_session = AuditSessionId::new(OWN);
            is_passed_on(member, login, &other, start_ticks)
        };
        let (around, inside, unknown) = ((60, START - 1), (72, START + 1), (0, 0));
        // Through an sshd that was started inside a login of the account: the audit session proves nothing.
        assert!(is_passed_on(MARKED_TREE, true, None, around));
        assert!(!is_passed_on(MARKED_TREE, true, None, inside));
        assert!(!is_passed_on(MARKED_TREE, true, None, (70, START)));
        assert!(!is_passed_on(MARKED_TREE, true, None, unknown));
        let own = AuditSessionId::new(OWN);
        assert!(!is_passed_on(MARKED_AUDIT_SESSION, false, own, around));
        // Of another account.
        let other = AuditSessionId::new(OWN + 1);
        assert!(is_passed_on(MARKED_AUDIT_SESSION, false, other, inside));
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
