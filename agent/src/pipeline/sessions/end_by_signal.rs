//! Ends a session on request: signals its marked processes, and reports those that are left.
//!
//! The kernel's mark alone decides which process belongs to the session. A pid may be reused at any time, so each
//! signal goes through a pidfd: it is opened first, then mark and start time of the pid are read again. If the pidfd
//! is of an earlier process, the signal finds no process; if it is of a later one, its start differs from the mark.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tracing::{info, warn};
use vctl_common::causes::WithCauses;
use vctl_common::id::ProcessId;
use vctl_common::session::{Origin, RequestedEnd};
use vctl_common::time::BootNs;
use vctl_common::wire::{self, Mark, TaskMark};

use crate::end_request::{EndAnswer, EndRequest, EndResult, LISTED_MAX, RemainingProcess};
use crate::probe::Probe;
use crate::session::boot_now;

use super::Sessions;
use super::requested_ending::RequestedEnding;

/// Time that a process has to end by itself, before SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
/// Time after which the processes that are left are reported.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Interval between two looks at the marks: each look reads those of all sessions.
const LOOK: Duration = Duration::from_millis(200);
/// Time in which one look repeats its passes over the marks. A process that forks and exits has often ended before its
/// signal, and its child has another pid: only many tries in a short time reach one before it forks. With [`LOOK`], tries
/// without a hit stay below the CPU quota of the agent's unit.
const HUNT: Duration = Duration::from_millis(30);

/// The result of a signal to one marked process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Sent,
    /// The process has ended, or its pid has another process.
    Gone,
    /// The mark is not proven to belong to the process that has the pid now.
    Unproven,
    Failed(Errno),
}

impl Sessions {
    /// Begins to end a session. Returns an answer if there is nothing to do.
    pub(in crate::pipeline) fn begin_end(&mut self, request: EndRequest) -> Option<EndAnswer> {
        if self
            .requested
            .iter()
            .any(|one| one.request.id == request.id)
        {
            return None;
        }
        if !self.accepts_requests {
            warn!(session = %request.session, by = request.by, "Refused to end a session: `end_sessions` is false.");
            return Some(EndAnswer::without_signal(request.id, EndResult::Refused));
        }
        let mark = request.session.mark();
        let session = self.registry.get_mut(mark);
        let Some(session) = session.filter(|session| session.opened.id == request.session) else {
            return Some(EndAnswer::without_signal(request.id, EndResult::Gone));
        };
        info!(session = %request.session, by = request.by, reason = request.reason, "A session is ended on request.");
        session.requested_end = Some(RequestedEnd {
            by: request.by.clone(),
            reason: request.reason.clone(),
            at: boot_now(),
        });
        self.requested.push(RequestedEnding::new(request, mark));
        None
    }

    pub(in crate::pipeline) fn is_any_requested(&self) -> bool {
        !self.requested.is_empty()
    }

    /// Goes on with every requested end. Returns the answers of those that are over.
    pub(in crate::pipeline) fn continue_ends(&mut self, probe: &mut Probe) -> Vec<EndAnswer> {
        let (mut open, over): (Vec<_>, Vec<_>) = std::mem::take(&mut self.requested)
            .into_iter()
            .partition(|ending| self.registry.by_id(ending.request.session).is_some());
        let ended = EndResult::Ended;
        let over = over
            .iter()
            .map(|ending| self.answer(ending, ended, Vec::new()));
        let mut answers: Vec<_> = over.collect();
        if open.is_empty() || Instant::now() < self.next_look {
            self.requested = open;
            return answers;
        }
        let (left, is_any_new) = self.signal_all(&mut open, probe);
        self.next_look = Instant::now() + if is_any_new { Duration::ZERO } else { LOOK };
        // Their last exit record may be lost, or their count of processes may be rough.
        let empty = open
            .iter()
            .filter(|ending| ending.begun.elapsed() >= GRACE && !left.contains_key(&ending.mark))
            // Processes without a mark are not listed.
            .filter(|ending| !self.unmarked.contains_key(&ending.mark));
        let empty: Vec<Mark> = empty.map(|ending| ending.mark).collect();
        self.end_without_process(&empty, probe);
        for mut ending in open {
            if ending.begun.elapsed() < GIVE_UP {
                self.requested.push(ending);
                continue;
            }
            if self.is_ending(ending.mark) {
                // It has no process, and its end waits for the spool.
                answers.push(self.answer(&ending, EndResult::Ended, Vec::new()));
                continue;
            }
            // Two requests can name one session.
            let left = left.get(&ending.mark);
            if left.is_none() && ending.problem.is_none() {
                let problem = if self.unmarked.contains_key(&ending.mark) {
                    "the kernel had no room to mark its processes"
                } else {
                    "its processes fork and end faster than a signal reaches one of them"
                };
                ending.problem = Some(problem.to_owned());
            }
            let left = left.into_iter().flatten().copied().collect();
            answers.push(self.answer(&ending, EndResult::Remaining, left));
        }
        answers
    }

    /// Signals the processes of all endings, and those that they forked meanwhile. Returns the processes of the last
    /// pass by mark, without sessions that have none, and whether it still killed new ones.
    fn signal_all(
        &self,
        endings: &mut [RequestedEnding],
        probe: &Probe,
    ) -> (HashMap<Mark, BTreeSet<u32>>, bool) {
        let begun = Instant::now();
        loop {
            let mut left: HashMap<Mark, BTreeSet<u32>> = HashMap::new();
            let mut is_any_new = false;
            // Each process gets its signal as soon as it is found: after the whole list, it may have forked and ended.
            let listed = probe.maps.each_task(|tgid, task| {
                for ending in endings.iter_mut().filter(|one| one.mark == task.session) {
                    let (is_left, is_new) = self.signal_one(ending, tgid, task, probe);
                    is_any_new |= is_new;
                    if is_left {
                        left.entry(ending.mark).or_default().insert(tgid);
                    }
                }
            });
            if let Err(error) = listed {
                warn!(error = %WithCauses(&error), "The marks cannot be listed.");
            }
            // Processes that are listed wait for their end. Others are not found, but the kernel counts them.
            let is_hunting = endings.iter().any(|ending| {
                let counters = probe.maps.session(ending.mark);
                ending.begun.elapsed() >= GRACE
                    && !self.is_ending(ending.mark)
                    && !left.contains_key(&ending.mark)
                    && counters.is_some_and(|counters| counters.alive > 0)
            });
            let goes_on = is_any_new || is_hunting;
            if !goes_on || begun.elapsed() >= HUNT {
                return (left, is_any_new);
            }
        }
    }

    /// Signals one process, if its turn has come. Returns whether it is left, and whether it was killed just now.
    fn signal_one(
        &self,
        ending: &mut RequestedEnding,
        tgid: u32,
        task: TaskMark,
        probe: &Probe,
    ) -> (bool, bool) {
        let process = (tgid, task.start);
        let is_asking = ending.begun.elapsed() < GRACE;
        if !is_asking && !ending.killed.contains(&process) {
            let delivery = self.signal(ending, tgid, &[Signal::KILL], probe);
            if delivery == Delivery::Sent {
                ending.killed.insert(process);
            }
            return (delivery != Delivery::Gone, delivery == Delivery::Sent);
        }
        if is_asking && !ending.asked.contains(&process) {
            self.ask(ending, tgid, task, probe);
        }
        // A mark whose process has ended, because its exit was not seen, is left out: its pid may have another process.
        (task.start == 0 || self.is_of_mark(tgid, task), false)
    }

    /// Asks a process to end.
    fn ask(&self, ending: &mut RequestedEnding, tgid: u32, task: TaskMark, probe: &Probe) {
        let signals: &[Signal] = match task.role {
            // Hooks of PAM: they end by themselves, and a logout needs them.
            wire::ROLE_SETUP | wire::ROLE_LOGOUT => return,
            // sshd closes the connection on SIGTERM. Interactive shells end on SIGHUP only.
            wire::ROLE_USER if !self.proc.is_sshd(tgid) => {
                &[Signal::HUP, Signal::TERM, Signal::CONT]
            }
            _ => &[Signal::TERM, Signal::CONT],
        };
        if self.signal(ending, tgid, signals, probe) == Delivery::Sent {
            ending.asked.insert((tgid, task.start));
        }
    }

    /// Signals the process that has this mark now, and no other.
    fn signal(
        &self,
        ending: &mut RequestedEnding,
        tgid: u32,
        signals: &[Signal],
        probe: &Probe,
    ) -> Delivery {
        let delivery = self.deliver(ending.mark, tgid, signals, probe);
        match delivery {
            Delivery::Failed(Errno::PERM) => {
                let problem =
                    "the agent may not signal processes of users: its unit lacks CAP_KILL";
                ending.problem = Some(problem.to_owned());
            }
            Delivery::Failed(errno) => {
                ending.problem = Some(format!("a signal cannot be sent: {errno}"));
            }
            Delivery::Unproven => {
                let problem =
                    "a mark without a start time could not be proven to belong to its process";
                ending.problem = Some(problem.to_owned());
            }
            Delivery::Sent | Delivery::Gone => {}
        }
        delivery
    }

    fn deliver(&self, mark: Mark, tgid: u32, signals: &[Signal], probe: &Probe) -> Delivery {
        // The agent itself may run in a session of an administrator.
        if tgid == std::process::id() {
            return Delivery::Unproven;
        }
        let pid = i32::try_from(tgid).ok().and_then(Pid::from_raw);
        let Some(pid) = pid.filter(|pid| !pid.is_init()) else {
            return Delivery::Unproven;
        };
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH) => return Delivery::Gone,
            Err(errno) => return Delivery::Failed(errno),
        };
        // Read after the pidfd was opened: only now do they describe the process behind it, or it has ended.
        let Some(task) = probe.maps.task(tgid).filter(|task| task.session == mark) else {
            return Delivery::Gone;
        };
        if !self.is_of_mark(tgid, task) {
            return match task.start {
                0 => Delivery::Unproven,
                _ => Delivery::Gone,
            };
        }
        let mut is_sent = false;
        for signal in signals {
            match pidfd_send_signal(&pidfd, *signal) {
                Ok(()) => is_sent = true,
                // It ended at the first signal.
                Err(_) if is_sent => break,
                Err(Errno::SRCH) => return Delivery::Gone,
                Err(errno) => return Delivery::Failed(errno),
            }
        }
        Delivery::Sent
    }

    /// Returns whether the process that has the pid now is the marked one. A mark that the agent set may have no start
    /// yet: then the kernel's audit session has to be the one of the login.
    fn is_of_mark(&self, tgid: u32, task: TaskMark) -> bool {
        if task.start != 0 {
            let start = BootNs(task.start);
            return self.proc.is_alive(ProcessId { tgid, start });
        }
        let session = self.registry.get(task.session);
        let audit_session = session.and_then(|session| session.opened.audit_session);
        audit_session.is_some() && self.proc.audit_session(tgid) == audit_session
    }

    fn answer(&self, ending: &RequestedEnding, result: EndResult, left: Vec<u32>) -> EndAnswer {
        let request = &ending.request;
        info!(session = %request.session, left = left.len(), ?result, "A requested end of a session is over.");
        let detached = self.registry.iter().filter(|(_, session)| {
            matches!(&session.opened.origin, Origin::Detached { from: Some(link) } if link.session == request.session)
        });
        EndAnswer {
            request: request.id,
            result,
            signalled: ending.asked.union(&ending.killed).count(),
            killed: ending.killed.len(),
            remaining: left
                .into_iter()
                .take(LISTED_MAX)
                .map(|pid| self.remaining(pid))
                .collect(),
            detached: detached
                .map(|(_, session)| session.opened.id)
                .take(LISTED_MAX)
                .collect(),
            problem: ending.problem.clone(),
        }
    }

    /// Reads name and state of a process, for the report.
    fn remaining(&self, pid: u32) -> RemainingProcess {
        let found = self.proc.name_and_state(pid);
        let (name, state) =
            found.map_or_else(Default::default, |(name, state)| (name, state.to_string()));
        RemainingProcess { pid, name, state }
    }
}
