//! Marks the processes of a session that runs already.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use tracing::warn;
use vctl_common::causes::WithCauses;
use vctl_common::id::AuditSessionId;
use vctl_common::wire::{self, Mark, SessionCounters, TaskMark};

use crate::probe::Probe;
use crate::session::login;

use super::Sessions;

/// Start of the count of processes, where it is known only roughly because some end while they are marked. It never
/// comes down to 0, so housekeeping looks for the end of such a session.
///
/// Below 2^32: an exit record has 32 bits for the rest, and 2^32 would read as 0.
pub(super) const ROUGHLY: u64 = 1 << 31;

/// Time for further rounds, while each still finds an unmarked process.
const ROUNDS: Duration = Duration::from_millis(50);

/// The result of marking the processes of a session.
#[derive(Debug, Default)]
pub(super) struct Marking {
    /// Processes that have the mark now.
    pub(super) processes: usize,
    /// Processes without it were found.
    pub(super) is_any_new: bool,
    /// Why the kernel did not accept the session or a mark.
    pub(super) problem: Option<String>,
}

impl Sessions {
    /// Notes a session of which the agent marks or has marked processes that the kernel has not counted.
    pub(super) fn note_counted(&mut self, mark: Mark, counters: SessionCounters) {
        // Also a count that went below 0.
        if !(ROUGHLY / 2..ROUGHLY * 2).contains(&counters.alive) {
            self.undercounted.insert(mark);
        }
    }

    /// Marks all processes below `leader` and all of the audit session, in at least two rounds: the second one finds the
    /// children that were forked in the first one before their parent had its mark. No list has the processes of a chain
    /// that forks and exits, so from the beginning the probe marks those of the audit session that fork or execute.
    pub(super) fn mark_tree(
        &mut self,
        mark: Mark,
        leader: Option<u32>,
        audit_session: Option<AuditSessionId>,
        probe: &mut Probe,
    ) -> Marking {
        // Before the session is opened: after a kill in between, the next agent begins again.
        let noted = audit_session.map(|audit_session| probe.maps.note_late(audit_session, mark));
        let noted = noted.transpose().map_err(|error| {
            warn!(error = %WithCauses(&error), "The kernel has no room for the audit session of a late login.");
            WithCauses(&error).to_string()
        });
        // Once the kernel has the session, only the kernel may change the numbers.
        if let Some(counters) = probe.maps.session(mark) {
            self.note_counted(mark, counters);
        } else {
            let mut user_began = false;
            each_member(leader, audit_session, |tgid, _| {
                // A process that runs already counts as the user's; the probe decides for the later ones.
                user_began |= Some(tgid) != leader;
            });
            if let Err(error) = probe.maps.open_session(mark, ROUGHLY, user_began) {
                warn!(error = %WithCauses(&error), "The kernel does not accept a session.");
                return Marking {
                    problem: Some(WithCauses(&error).to_string()),
                    ..Marking::default()
                };
            }
        }
        probe.watch_failed_execs();
        let begun = Instant::now();
        let (mut rounds, mut is_any_new) = (0, false);
        loop {
            rounds += 1;
            let marking = self.mark_round(mark, leader, audit_session, probe);
            is_any_new |= marking.is_any_new;
            let goes_on = marking.is_any_new && marking.problem.is_none();
            if rounds > 1 && (!goes_on || begun.elapsed() >= ROUNDS) {
                return Marking {
                    is_any_new,
                    problem: marking.problem.or(noted.err()),
                    ..marking
                };
            }
        }
    }

    /// Marks each process as soon as it is found.
    fn mark_round(
        &self,
        mark: Mark,
        leader: Option<u32>,
        audit_session: Option<AuditSessionId>,
        probe: &mut Probe,
    ) -> Marking {
        let mut marked = HashSet::new();
        let mut marking = Marking::default();
        each_member(leader, audit_session, |tgid, how| {
            let role = match leader {
                Some(leader) if leader == tgid => self.role_of_login(leader),
                _ => wire::ROLE_USER,
            };
            let before = probe.maps.task(tgid);
            if let Some(task) = before.filter(|task| task.session == mark) {
                marked.insert(tgid);
                // The login's own process forked after `note_late`, and the probe knows no role.
                if Some(tgid) == leader && task.role != role {
                    let _ = probe.maps.mark_task(tgid, TaskMark { role, ..task });
                }
                return;
            }
            if let Some(task) = before
                && !(how == wire::MARKED_AUDIT_SESSION && self.is_foreign(task, audit_session))
            {
                return;
            }
            let task = TaskMark {
                session: mark,
                start: 0,
                marked: how,
                noted_exec: 0,
                role,
                groups: 0,
            };
            if let Err(error) = probe.maps.mark_task(tgid, task) {
                warn!(error = %WithCauses(&error), tgid, "A process could not be marked.");
                marking.problem = Some(WithCauses(&error).to_string());
            // It may have ended in between, with its exit before its mark.
            } else if fs::exists(format!("/proc/{tgid}")).unwrap_or(true) {
                marked.insert(tgid);
                marking.is_any_new = true;
            } else {
                probe.maps.unmark_task(tgid);
            }
        });
        marking.processes = marked.len();
        marking
    }

    /// Returns whether a process of this audit session has the mark of a session that is in another one: an sshd that
    /// was started inside a session passes its mark on to every login.
    fn is_foreign(&self, task: TaskMark, audit_session: Option<AuditSessionId>) -> bool {
        let other = self.registry.get(task.session);
        other.is_some_and(|other| other.opened.audit_session != audit_session)
    }

    /// Returns the role of a login's process. The step from the login's process to the user's is known for sshd
    /// only; with other services (login, cron, at) every process is the user's.
    pub(super) fn role_of_login(&self, leader: u32) -> u32 {
        if self.logins.is_sshd(leader) {
            wire::ROLE_LOGIN
        } else {
            wire::ROLE_USER
        }
    }
}

/// Calls `found` for the processes of the audit session, then for those below `leader`, itself included.
fn each_member(
    leader: Option<u32>,
    audit_session: Option<AuditSessionId>,
    mut found: impl FnMut(u32, u16),
) {
    let is_of_session =
        |tgid: u32| audit_session.is_some() && audit_session_of(tgid) == audit_session;
    if audit_session.is_some() {
        // The last one first: it forks next, if it forks and exits all the time.
        for tgid in all_processes().into_iter().rev() {
            if is_of_session(tgid) {
                found(tgid, wire::MARKED_AUDIT_SESSION);
            }
        }
    }
    let Some(leader) = leader else { return };
    for tgid in tree(leader) {
        if is_of_session(tgid) {
            found(tgid, wire::MARKED_AUDIT_SESSION);
        } else {
            found(tgid, wire::MARKED_TREE);
        }
    }
}

/// Returns the audit sessions with a process that has no mark.
pub(super) fn unmarked_audit_sessions(probe: &Probe) -> HashSet<AuditSessionId> {
    let unmarked = all_processes().into_iter();
    let unmarked = unmarked.filter(|tgid| probe.maps.task(*tgid).is_none());
    unmarked.filter_map(audit_session_of).collect()
}

fn audit_session_of(tgid: u32) -> Option<AuditSessionId> {
    let id = login::parse_id(&fs::read(format!("/proc/{tgid}/sessionid")).ok()?)?;
    AuditSessionId::new(id)
}

fn all_processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect()
}

/// Lists a process and those below it.
fn tree(leader: u32) -> Vec<u32> {
    let processes: Vec<(u32, u32)> = all_processes()
        .into_iter()
        .filter_map(|tgid| {
            let stat = login::parse_stat(&fs::read(format!("/proc/{tgid}/stat")).ok()?)?;
            Some((tgid, stat.ppid))
        })
        .collect();
    let mut tree = vec![leader];
    let mut seen = 0;
    while let Some(&parent) = tree.get(seen) {
        seen += 1;
        let children = processes.iter().filter(|(_, ppid)| *ppid == parent);
        let children: Vec<u32> = children
            .map(|(tgid, _)| *tgid)
            .filter(|tgid| !tree.contains(tgid))
            .collect();
        tree.extend(children);
    }
    tree
}
