//! Sessions of which the kernel accepted no mark, or not all: one of its maps is full. They are open and not recorded
//! completely, so marking is tried again until it succeeds, and the gap is as long.

use std::time::Instant;

use tracing::warn;
use vctl_common::id::ProcessId;
use vctl_common::session::{Gap, GapCause};
use vctl_common::time::BootNs;
use vctl_common::wire::Mark;

use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::session::boot_now;

use super::mark::Marking;
use super::{Sessions, Unmarked};

impl Sessions {
    /// Notes the marks of a session whose gap ends at `to`. Returns the number of marked processes.
    pub(super) fn note_marking(&mut self, mark: Mark, to: BootNs, marking: Marking) -> usize {
        if let Some(problem) = marking.problem {
            let unmarked = self.unmarked.entry(mark).or_insert(Unmarked {
                since: to,
                problem: String::new(),
            });
            unmarked.problem = problem;
        }
        marking.processes
    }

    /// Marks the sessions again that lack marks. Returns false when some are left at `until`.
    pub(in crate::pipeline) fn mark_again(
        &mut self,
        until: Instant,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) -> bool {
        let mut marks: Vec<Mark> = self.unmarked.keys().copied().collect();
        marks.sort_unstable();
        // Each look begins with another one: the first that fails ends it.
        let first = self.looks as usize % marks.len().max(1);
        marks.rotate_left(first);
        for (nth, mark) in marks.into_iter().enumerate() {
            if nth > 0 && Instant::now() >= until {
                return false;
            }
            let Some(live) = self.registry.get(mark) else {
                self.unmarked.remove(&mark);
                continue;
            };
            let id = live.opened.id;
            let ProcessId { tgid, .. } = live.opened.leader;
            let leader = self.logins.is_alive(live.opened.leader).then_some(tgid);
            let audit_session = live.opened.audit_session;
            let now = boot_now();
            let marking = self.mark_tree(mark, leader, audit_session, probe);
            if let (Some(problem), Some(unmarked)) =
                (&marking.problem, self.unmarked.get_mut(&mark))
            {
                unmarked.problem.clone_from(problem);
                // The map is still full, and each try reads all of /proc.
                break;
            }
            if let Some(unmarked) = self.unmarked.remove(&mark) {
                out.gap(Gap::new(GapCause::MarksFull, id, unmarked.since, now));
            }
            // One without a process is ended by the proof of `find_ended`.
            warn!(session = %id, processes = marking.processes, "A session is recorded again: the kernel had no room for its marks.");
        }
        true
    }

    /// The sentence for the status, while sessions lack marks.
    pub(super) fn unmarked_problem(&self) -> Option<String> {
        let count = self.unmarked.len();
        let problem = &self.unmarked.values().next()?.problem;
        let sessions = if count == 1 {
            "session is"
        } else {
            "sessions are"
        };
        Some(format!(
            "{count} {sessions} not recorded completely: {problem}"
        ))
    }
}
