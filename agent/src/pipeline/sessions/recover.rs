//! The sessions that an earlier collector left open, and sessions that the spool does not know.

use tracing::{info, warn};
use vctl_common::id::SessionId;
use vctl_common::session::{
    CloseReason, Gap, GapCause, JournalEntry, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::time::BootNs;
use vctl_common::wire::Mark;

use crate::loss::Sequence;
use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::session::boot_now;
use crate::spool::{OpenSession, Recovered};

use super::Sessions;
use super::members::unmarked_audit_sessions;
use super::unconfirmed::{has_not_begun, unrecorded};

/// What the kernel has of a session that is open in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// The probe has recorded it without a break.
    Whole,
    /// Nothing yet, and its hook may still hold its login.
    Unconfirmed,
    Unknown,
}

impl Sessions {
    /// Continues the sessions of this boot and closes those of earlier ones.
    pub(in crate::pipeline) fn recover(
        &mut self,
        recovered: Recovered,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) {
        if recovered.truncated_bytes > 0 {
            info!(
                bytes = recovered.truncated_bytes,
                "Removed an unfinished batch from the spool: its events are still in the ring."
            );
        }
        for gap in recovered.damage {
            // Not written as a gap: readers find it by themselves whenever they read the segment.
            warn!(
                events = gap.events,
                "A part of the spool cannot be read any more."
            );
        }
        for session in recovered.cut_off {
            out.end(SessionClosed {
                id: session.opened.id,
                at: session.last_at.unwrap_or(session.opened.opened_at),
                reason: CloseReason::HostRebooted,
                produced: None,
                stored: session.stored,
                leader_ended_at: None,
                requested: None,
            });
        }
        let (mut late, mut again) = (Vec::new(), Vec::new());
        for session in recovered.open {
            let mark = session.opened.id.mark();
            let last_at = session.last_at.unwrap_or(session.opened.opened_at);
            // An adopted session is found by its marks, and has no others.
            let was_late = session.opened.stamp != Stamp::InTime && !session.opened.is_nameless();
            match self.resume(session, probe) {
                Found::Whole if was_late => late.push((mark, last_at)),
                Found::Whole | Found::Unconfirmed => {}
                // This probe is not the one that recorded the session: the time since is unknown.
                Found::Unknown => {
                    again.push(unrecorded(mark, last_at, CloseReason::ProbeDetached));
                }
            }
        }
        self.record_behind_gaps(again, probe, out);
        self.mark_rest(&late, probe, out);
        let stored = out.bytes_by_session();
        for session in self.registry.iter_mut() {
            let mark = session.opened.id.mark();
            session.spent = stored.get(&mark).copied().unwrap_or(0);
        }
        self.look_at_budgets();
    }

    /// Continues a session of this boot.
    fn resume(&mut self, session: OpenSession, probe: &mut Probe) -> Found {
        let mark = session.opened.id.mark();
        let last_at = session.last_at.unwrap_or(session.opened.opened_at);
        let kernel = probe.maps.session(mark);
        let leader = probe.maps.task(session.opened.leader.tgid);
        let not_begun = has_not_begun(&session, kernel, leader);
        let was_marked = session.opened.stamp != Stamp::InTime
            || session
                .gaps
                .iter()
                .any(|gap| gap.session.is_some() && gap.cause == GapCause::ProbeAway);
        let reported = session.gaps.iter().filter(|gap| gap.session.is_some());
        let reported = reported.filter_map(|gap| gap.last_seq).max().unwrap_or(0);
        self.registry.open(session.opened);
        self.registry.continue_losses(mark, &session.gaps);
        self.registry.add_stored(mark, session.stored);
        // Also for a new probe: two events with one number would be one event to the centre.
        let last_seq = session.last_seq.max(reported);
        if last_seq > 0 || kernel.is_some() {
            self.sequences
                .insert(mark, Sequence::after(last_seq, last_at));
        }
        if not_begun {
            // The hook may still hold its login and ask again.
            self.unconfirmed.insert(mark);
            Found::Unconfirmed
        } else if let Some(counters) = kernel {
            if was_marked {
                self.note_counted(mark, counters);
            }
            probe.watch_failed_execs();
            Found::Whole
        } else {
            Found::Unknown
        }
    }

    /// Marks the processes of late sessions that have no mark yet: the last collector may have been killed before it had
    /// marked all of them.
    fn mark_rest(&mut self, late: &[(Mark, BootNs)], probe: &mut Probe, out: &mut SpoolOut) {
        if late.is_empty() {
            return;
        }
        let unmarked = unmarked_audit_sessions(&self.logins.processes(), probe);
        let mut lacking = late.to_vec();
        lacking.retain(|(mark, _)| {
            let live = self.registry.get(*mark);
            live.is_some_and(|live| {
                let audit_session = live.opened.audit_session;
                audit_session.is_none_or(|audit_session| unmarked.contains(&audit_session))
            })
        });
        let marks: Vec<Mark> = lacking.iter().map(|(mark, _)| *mark).collect();
        let markings = self.mark_running(&marks, probe);
        let now = boot_now();
        for ((mark, last_at), marking) in lacking.into_iter().zip(markings) {
            let id = self.registry.get(mark).map(|live| live.opened.id);
            if let Some(id) = id.filter(|_| marking.is_any_new) {
                warn!(session = %id, "Processes of a session had no mark.");
                out.gap(Gap::new(GapCause::StampedLate, id, last_at, now));
            }
            self.note_marking(mark, now, marking);
        }
    }

    /// Makes a session of a mark that the spool does not know: the spool that knew it is gone. A record of a session
    /// that has ended makes none.
    pub(in crate::pipeline) fn adopt(&mut self, mark: Mark, out: &mut SpoolOut) {
        if self.closed.has(mark) {
            return;
        }
        let id = SessionId::from_mark(mark);
        let mut session = SessionOpened::unknown(id, boot_now());
        session.auth.problem = Some("the spool that knew this session is gone".to_owned());
        warn!(session = %id, "The kernel records a session that is not in the spool.");
        self.counts.count(session.stamp);
        // Not written at once: that would store the events before it in the batch without their end in the ring, and
        // the next agent would store them again.
        out.push_entry(&JournalEntry::Opened(Box::new(session.clone())));
        self.registry.open(session);
        if let Some(live) = self.registry.get_mut(mark) {
            live.spool_lost = true;
        }
        out.gap(Gap::new(GapCause::SpoolDamaged, id, BootNs(0), boot_now()));
    }
}
