//! Proof that a session has no process left, from the marks and the kernel's own count.
//!
//! A list of the marks alone is no proof: a process that forks and exits is listed, has ended when it is looked up, and
//! its child is not listed. So the kernel's counters are read before and after the list. Each exit takes a number of
//! the session, and each fork changes the number of its processes. With equal counters no process of the session began
//! or ended in between, and the list is that of one moment.

use std::collections::{HashMap, HashSet};

use tracing::{debug, warn};
use vctl_common::causes::WithCauses;
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;
use vctl_common::wire::{Mark, SessionCounters, TaskMark};

use crate::probe::Probe;
use crate::session::boot_now;

use super::mark::ROUGHLY;
use super::{Evidence, Sessions};

/// Every so many looks, all open sessions are looked at: a count is too high after an exit that no probe saw, and after
/// the agent has given a process of the session to another one.
const LOOK_AT_ALL: u32 = 4;
/// Processes that one look reads beyond those that decide. Each read takes some microseconds, a session may have tens of
/// thousands, and logins wait meanwhile.
const READS: usize = 4096;

impl Evidence {
    /// Returns whether the session still has no process, by the kernel's counters of now.
    pub(super) fn holds(self, now: &SessionCounters) -> bool {
        match self {
            // A process is counted until its exit, so nothing can follow a count of 0.
            Self::Counted => now.alive == 0,
            Self::Listed(then) => is_same_moment(&then, now),
        }
    }
}

/// Returns whether no process of the session began or ended between two reads of its counters.
fn is_same_moment(before: &SessionCounters, after: &SessionCounters) -> bool {
    (before.seq, before.alive, before.unmarked_forks)
        == (after.seq, after.alive, after.unmarked_forks)
}

/// Returns whether the count of a session may be above the number of its processes.
fn is_rough(counters: &SessionCounters) -> bool {
    counters.alive > ROUGHLY / 2 || counters.unmarked_forks > 0
}

impl Sessions {
    /// Ends sessions that have no process left although no last exit arrived: it was lost, or the count of processes
    /// was only rough.
    pub(in crate::pipeline) fn find_ended(&mut self, probe: &mut Probe) {
        let all = self.looks.is_multiple_of(LOOK_AT_ALL);
        self.looks = self.looks.wrapping_add(1);
        // The processes of a session without all of its marks are not listed.
        let open = self.registry.iter();
        let open = open.filter(|(mark, _)| !self.unmarked.contains_key(mark));
        // The hook of an unconfirmed one may still hold its login.
        let open = open.filter(|(mark, _)| !self.unconfirmed.contains(mark));
        let open = open.filter_map(|(mark, _)| Some((mark, probe.maps.session(mark)?)));
        let is_low = |mark: &Mark| self.undercounted.contains(mark);
        let (ended, open): (Vec<_>, Vec<_>) =
            open.partition(|(mark, counters)| counters.alive == 0 && !is_low(mark));
        let suspects = open
            .into_iter()
            .filter(|(mark, counters)| all || is_rough(counters) || is_low(mark));
        let suspects: Vec<Mark> = suspects.map(|(mark, _)| mark).collect();
        for (mark, _) in ended {
            self.last_process_ended(mark, boot_now(), Evidence::Counted);
        }
        self.end_without_process(&suspects, probe);
    }

    /// Ends those of the sessions that are proven to have no process.
    pub(super) fn end_without_process(&mut self, suspects: &[Mark], probe: &mut Probe) {
        if suspects.is_empty() {
            return;
        }
        let read = |probe: &Probe| -> HashMap<Mark, SessionCounters> {
            let counters = suspects.iter();
            let counters = counters.filter_map(|mark| Some((*mark, probe.maps.session(*mark)?)));
            counters.collect()
        };
        let before = read(probe);
        let tasks = match probe.maps.tasks() {
            Ok(tasks) => tasks,
            Err(error) => {
                warn!(error = %WithCauses(&error), "The marks cannot be listed; no session is closed by them.");
                return;
            }
        };
        let mut live = HashSet::new();
        for (nth, (tgid, task)) in tasks.into_iter().enumerate() {
            // The others are read only to remove marks that are left over. Each list has another order.
            let decides = before.contains_key(&task.session) && !live.contains(&task.session);
            if nth >= READS && !decides {
                continue;
            }
            if !self.has_ended(tgid, task) {
                live.insert(task.session);
            } else if probe.maps.task(tgid) == Some(task) {
                // No probe saw its exit.
                probe.maps.unmark_task(tgid);
            }
        }
        for (mark, after) in read(probe) {
            let is_one_moment = before
                .get(&mark)
                .is_some_and(|before| is_same_moment(before, &after));
            if is_one_moment && !live.contains(&mark) {
                debug!(mark, "A session has no process left.");
                self.last_process_ended(mark, boot_now(), Evidence::Listed(after));
            }
        }
    }

    /// Returns whether the marked process is certain to have ended: its pid has no process, a zombie, or a later process.
    fn has_ended(&self, tgid: u32, task: TaskMark) -> bool {
        let start = (task.start != 0).then_some(BootNs(task.start));
        match start {
            Some(start) => self.proc.has_ended(ProcessId { tgid, start }),
            None => self.proc.is_free(tgid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(seq: u64, alive: u64) -> SessionCounters {
        SessionCounters {
            seq,
            alive,
            ..SessionCounters::default()
        }
    }

    #[test]
    fn a_list_counts_only_while_no_process_begins_or_ends() {
        let listed = Evidence::Listed(counted(7, ROUGHLY + 1));
        assert!(listed.holds(&counted(7, ROUGHLY + 1)));
        // A process forked and has not exited yet.
        assert!(!listed.holds(&counted(7, ROUGHLY + 2)));
        // It forked and exited.
        assert!(!listed.holds(&counted(8, ROUGHLY + 1)));
        let unmarked = SessionCounters {
            unmarked_forks: 1,
            ..counted(7, ROUGHLY + 1)
        };
        assert!(!listed.holds(&unmarked));
    }

    #[test]
    fn a_counted_session_ends_only_at_a_count_of_zero() {
        assert!(Evidence::Counted.holds(&counted(7, 0)));
        assert!(!Evidence::Counted.holds(&counted(7, 1)));
        // A process that was not listed has ended. The next look finds the count of 0.
        assert!(!Evidence::Listed(counted(3, 1)).holds(&counted(7, 0)));
    }
}
