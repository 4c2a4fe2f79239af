//! Marks the processes of sessions that run already.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use tracing::warn;
use vctl_common::causes::WithCauses;
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;
use vctl_common::wire::{self, Mark, SessionCounters, TaskMark};

use super::sequence::Sequence;
use crate::probe::{Probe, ProbeError};
use crate::proc::process_table::{Listed, ProcessTable};

use super::Sessions;
use super::members::{Login, Member, is_passed_on, members, owns};

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

/// A running session, with the login that decides which processes belong to it.
struct Target {
    mark: Mark,
    login: Login,
    /// The role of the login's own process.
    role: u32,
    /// The kernel has the session.
    is_open: bool,
    /// Why the probe does not know the audit session.
    unnoted: Option<String>,
    /// The result of the last round.
    marking: Marking,
}

impl Target {
    fn result(self) -> Marking {
        Marking {
            problem: self.marking.problem.or(self.unnoted),
            ..self.marking
        }
    }
}

/// The mark of a process after a try to set it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Marked {
    Before,
    Now,
    /// It belongs to another session, or has ended.
    Not,
}

impl Sessions {
    /// Notes a session of which the agent marks or has marked processes that the kernel has not counted.
    pub(super) fn note_counted(&mut self, mark: Mark, counters: SessionCounters) {
        // Also a count that went below 0.
        if !(ROUGHLY / 2..ROUGHLY * 2).contains(&counters.alive) {
            self.undercounted.insert(mark);
        }
    }

    /// Marks the processes of open sessions: all below the login's own process, and all of its audit session if that is
    /// its own ([`owns`]). In at least two rounds: the second one finds the children that were forked in the first one
    /// before their parent had its mark. No list has the processes of a chain that forks and exits, so from the beginning
    /// the probe marks those of the audit session that fork or execute.
    ///
    /// Each round reads /proc once for all sessions. Returns the result for each one.
    pub(super) fn mark_running(&mut self, marks: &[Mark], probe: &mut Probe) -> Vec<Marking> {
        if marks.is_empty() {
            return Vec::new();
        }
        let mut table = self.proc.processes();
        let mut targets: Vec<Target> = marks
            .iter()
            .map(|mark| self.target(*mark, &table, probe))
            .collect();
        // A login inside of another one comes first: the other one leaves its marks alone.
        let mut order: Vec<usize> = (0..targets.len()).collect();
        order.sort_by_key(|nth| Reverse(targets[*nth].login.start_ticks));
        probe.watch_failed_execs();
        let begun = Instant::now();
        let mut rounds = 0;
        loop {
            rounds += 1;
            let mut goes_on = false;
            for nth in &order {
                let target = &mut targets[*nth];
                goes_on |= target.is_open && self.mark_round(target, &table, probe);
            }
            if rounds > 1 && (!goes_on || begun.elapsed() >= ROUNDS) {
                return targets.into_iter().map(Target::result).collect();
            }
            // Read after the kernel has all of the sessions: a process that is not in it has forked since.
            table = self.proc.processes();
        }
    }

    /// Opens a session in the kernel.
    fn target(&mut self, mark: Mark, table: &ProcessTable, probe: &mut Probe) -> Target {
        let opened = self.registry.get(mark).map(|live| &live.opened);
        let leader = opened.map_or(NO_PROCESS, |opened| opened.leader);
        let audit_session = opened.and_then(|opened| opened.audit_session);
        let mut target = Target {
            mark,
            login: Login {
                tgid: leader.tgid,
                start_ticks: self.proc.ticks(leader.start),
                audit_session: audit_session
                    .filter(|audit_session| owns(leader, *audit_session, table, &self.proc)),
            },
            role: self.role_of_login(leader.tgid),
            is_open: true,
            unnoted: None,
            marking: Marking::default(),
        };
        if let Some(audit_session) = target.login.audit_session
            // Before the session is opened: after a kill in between, the next agent begins again.
            && let Err(error) = probe.maps.note_late(audit_session, mark)
        {
            warn!(error = %WithCauses(&error), "The kernel has no room for the audit session of a late login.");
            target.unnoted = Some(WithCauses(&error).to_string());
        }
        // Once the kernel has the session, only the kernel may change the numbers.
        if let Some(counters) = probe.maps.session(mark) {
            self.note_counted(mark, counters);
            return target;
        }
        // A process that runs already counts as the user's; the probe decides for the later ones.
        let user_began = members(target.login, table)
            .iter()
            .any(|member| member.process.tgid != leader.tgid);
        let counters = SessionCounters {
            // A new probe knows none of the numbers that the session has had.
            seq: self.sequences.get(&mark).map_or(0, Sequence::last),
            alive: ROUGHLY,
            user_began: u64::from(user_began),
            ..SessionCounters::default()
        };
        if let Err(error) = probe.maps.open_session(mark, counters) {
            warn!(error = %WithCauses(&error), "The kernel does not accept a session.");
            target.is_open = false;
            target.marking.problem = Some(WithCauses(&error).to_string());
        }
        target
    }

    /// Marks each process as soon as it is found. Returns whether one had no mark, and the kernel has room for more.
    fn mark_round(&self, target: &mut Target, table: &ProcessTable, probe: &mut Probe) -> bool {
        let (mut processes, mut is_any_new, mut problem) = (0, false, None);
        for member in members(target.login, table) {
            match self.mark_process(target, member, probe) {
                Ok(Marked::Not) => {}
                Ok(what) => {
                    processes += 1;
                    is_any_new |= what == Marked::Now;
                }
                Err(error) => {
                    warn!(error = %WithCauses(&error), tgid = member.process.tgid, "A process could not be marked.");
                    problem = Some(WithCauses(&error).to_string());
                }
            }
        }
        let goes_on = is_any_new && problem.is_none();
        target.marking = Marking {
            processes,
            is_any_new: is_any_new || target.marking.is_any_new,
            problem,
        };
        goes_on
    }

    fn mark_process(
        &self,
        target: &Target,
        member: Member<'_>,
        probe: &mut Probe,
    ) -> Result<Marked, ProbeError> {
        let Member { process, how, .. } = member;
        let tgid = process.tgid;
        let is_leader = tgid == target.login.tgid;
        let mark = TaskMark {
            session: target.mark,
            start: 0,
            marked: how,
            noted_exec: 0,
            role: if is_leader {
                target.role
            } else {
                wire::ROLE_USER
            },
            groups: 0,
        };
        let before = probe.maps.task(tgid);
        if before.is_none() && probe.maps.mark_new_task(tgid, mark)? {
            return Ok(self.unless_exiting(process, probe));
        }
        // The probe may have marked it just now.
        let Some(task) = before.or_else(|| probe.maps.task(tgid)) else {
            return Ok(Marked::Not);
        };
        if task.session == target.mark {
            // The login's own process forked after `note_late`, and the probe knows no role.
            if is_leader && task.role != mark.role {
                let role = mark.role;
                let _ = probe.maps.replace_task(tgid, TaskMark { role, ..task });
            }
            return Ok(Marked::Before);
        }
        let other = self.registry.get(task.session).map(|live| &live.opened);
        let is_passed_on = other.is_some_and(|other| {
            let start_ticks = self.proc.ticks(other.leader.start);
            is_passed_on(member, target.login, other, start_ticks)
        });
        if !is_passed_on {
            return Ok(Marked::Not);
        }
        // The second copy of a program must not record an exec once more.
        let noted_exec = task.noted_exec;
        if !probe
            .maps
            .replace_task(tgid, TaskMark { noted_exec, ..mark })?
        {
            return Ok(Marked::Not);
        }
        Ok(self.unless_exiting(process, probe))
    }

    /// Removes the mark of a process that is past the probe at its exit, or soon will be: nothing else would remove it,
    /// and the next process with the pid would get it.
    fn unless_exiting(&self, process: &Listed, probe: &mut Probe) -> Marked {
        if self.proc.is_exiting(process) {
            probe.maps.unmark_task(process.tgid);
            return Marked::Not;
        }
        Marked::Now
    }

    /// Returns the role of a login's process. The step from the login's process to the user's is known for sshd
    /// only; with other services (login, cron, at) every process is the user's.
    pub(super) fn role_of_login(&self, leader: u32) -> u32 {
        if self.proc.is_sshd(leader) {
            wire::ROLE_LOGIN
        } else {
            wire::ROLE_USER
        }
    }
}

/// A process that no table has.
const NO_PROCESS: ProcessId = ProcessId {
    tgid: 0,
    start: BootNs(0),
};
