//! Sessions that run already and are recorded from now on, behind a gap: stamped late or not at all, or the probe was away.

use tracing::{info, warn};
use vctl_common::session::{CloseReason, Gap, GapCause};
use vctl_common::time::BootNs;
use vctl_common::wire::Mark;

use super::sequence::Sequence;
use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::session::boot_now;

use super::Sessions;
use super::mark::ROUGHLY;

/// An open session of which the kernel recorded nothing from `from` to now.
#[derive(Clone, Copy, Debug)]
pub(super) struct BehindGap {
    pub(super) mark: Mark,
    pub(super) cause: GapCause,
    pub(super) from: BootNs,
    /// The reason of its end if it has no process left.
    pub(super) or_close: CloseReason,
}

impl Sessions {
    /// Records the sessions from now on; those without a process are closed.
    pub(super) fn record_behind_gaps(
        &mut self,
        mut sessions: Vec<BehindGap>,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) {
        sessions.retain(|session| self.registry.get(session.mark).is_some());
        if sessions.is_empty() {
            return;
        }
        let now = boot_now();
        for session in &sessions {
            self.gap_of(session, session.from, now, out);
        }
        // Before the kernel knows the sessions: after a kill in between, the next agent would find no gaps and treat the
        // sessions as recorded without a break.
        out.flush();
        let marks: Vec<Mark> = sessions.iter().map(|session| session.mark).collect();
        let markings = self.mark_running(&marks, probe);
        let marked_at = boot_now();
        for (session, marking) in sessions.into_iter().zip(markings) {
            let mark = session.mark;
            let processes = self.note_marking(mark, marked_at, marking);
            if processes > 0 || self.unmarked.contains_key(&mark) || self.has_begun(mark, probe) {
                // A write to a slow disk and the marking take time, and the processes run.
                self.gap_of(&session, now, marked_at, out);
                self.sequences.entry(mark).or_default();
                self.log_recorded(&session, processes);
            } else {
                self.close(mark, now, session.or_close, None, probe, out);
            }
        }
    }

    fn gap_of(&self, session: &BehindGap, from: BootNs, to: BootNs, out: &mut SpoolOut) {
        if let Some(live) = self.registry.get(session.mark) {
            out.gap(Gap::new(session.cause, live.opened.id, from, to));
        }
    }

    /// Returns whether the probe has marked a process of a session that the agent has opened just now. The lists of
    /// processes do not show one that forks and exits all the time.
    fn has_begun(&self, mark: Mark, probe: &Probe) -> bool {
        let before = self.sequences.get(&mark).map_or(0, Sequence::last);
        let counters = probe.maps.session(mark);
        counters.is_some_and(|counters| counters.seq > before || counters.alive > ROUGHLY)
    }

    fn log_recorded(&self, behind: &BehindGap, processes: usize) {
        let Some(live) = self.registry.get(behind.mark) else {
            return;
        };
        let id = live.opened.id;
        match behind.cause {
            GapCause::ProbeAway => {
                warn!(session = %id, processes, "Continued a session that was not recorded for a while.");
            }
            _ => {
                info!(session = %id, processes, cause = ?behind.cause, "Opened a session behind a gap.");
            }
        }
    }
}
