//! Sessions of which the kernel accepted no mark, or not all: one of its maps is full. They are open and not recorded
//! completely, so marking is tried again until it succeeds, and the gap is as long.

use tracing::warn;
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

    /// Marks the sessions again that lack marks.
    pub(in crate::pipeline) fn mark_again(&mut self, probe: &mut Probe, out: &mut SpoolOut) {
        let registry = &self.registry;
        self.unmarked
            .retain(|mark, _| registry.get(*mark).is_some());
        let mut marks: Vec<Mark> = self.unmarked.keys().copied().collect();
        marks.sort_unstable();
        // Each look begins with another one. When the map is still full, it is the only one.
        let first = self.looks as usize % marks.len().max(1);
        marks.rotate_left(first);
        let (first, rest) = marks.split_at(marks.len().min(1));
        if self.mark_once_more(first, probe, out) {
            self.mark_once_more(rest, probe, out);
        }
    }

    /// States the gaps of the sessions that lack marks, before this agent ends: the next one may find their processes
    /// ended, or marks them, and knows of no gap.
    pub(in crate::pipeline) fn state_unmarked(&mut self, out: &mut SpoolOut) {
        let now = boot_now();
        for (mark, unmarked) in &mut self.unmarked {
            if let Some(live) = self.registry.get(*mark) {
                let from = std::mem::replace(&mut unmarked.since, now);
                out.gap(Gap::new(GapCause::MarksFull, live.opened.id, from, now));
            }
        }
        if !self.unmarked.is_empty() {
            out.flush();
        }
    }

    /// Returns whether all of them have their marks now.
    fn mark_once_more(&mut self, marks: &[Mark], probe: &mut Probe, out: &mut SpoolOut) -> bool {
        let mut are_marked = true;
        let markings = self.mark_running(marks, probe);
        let now = boot_now();
        for (mark, marking) in marks.iter().zip(markings) {
            if let (Some(problem), Some(unmarked)) = (&marking.problem, self.unmarked.get_mut(mark))
            {
                unmarked.problem.clone_from(problem);
                are_marked = false;
                continue;
            }
            let id = self.registry.get(*mark).map(|live| live.opened.id);
            if let (Some(id), Some(unmarked)) = (id, self.unmarked.remove(mark)) {
                out.gap(Gap::new(GapCause::MarksFull, id, unmarked.since, now));
                // One without a process is ended by the proof of `find_ended`.
                warn!(session = %id, processes = marking.processes, "A session is recorded again: the kernel had no room for its marks.");
            }
        }
        are_marked
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
