//! The sessions that an earlier collector left open, and sessions that the spool does not know.

use tracing::{info, warn};
use vctl_common::id::SessionId;
use vctl_common::session::{
    CloseReason, Gap, GapCause, JournalEntry, SessionClosed, SessionOpened, Stamp,
};
use vctl_common::time::BootNs;
use vctl_common::wire::Mark;

use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::session::boot_now;
use crate::spool::{OpenSession, Recovered};

use super::Sessions;
use super::sequence::Sequence;
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

/// Returns whether an agent marked processes of the session that ran already.
fn was_marked(session: &OpenSession) -> bool {
    let is_away = |gap: &Gap| gap.session.is_some() && gap.cause == GapCause::ProbeAway;
    session.opened.stamp != Stamp::InTime || session.gaps.iter().any(is_away)
}

/// Returns up to when the gaps of the session cover processes without a mark.
///
/// The first of these gaps ends where the processes were marked, and each later one begins where one before ends.
fn covered_to(session: &OpenSession) -> BootNs {
    let gaps = session.gaps.iter().filter(|gap| gap.session.is_some());
    let gaps = gaps.filter(|gap| match gap.cause {
        GapCause::StampedLate
        | GapCause::LoginWithoutStamp
        | GapCause::ProbeAway
        | GapCause::MarksFull => true,
        GapCause::RingFull
        | GapCause::ProbeSkipped
        | GapCause::Undecodable
        | GapCause::SpoolCap
        | GapCause::SpoolDamaged
        | GapCause::StreamLost
        | GapCause::CentreLost
        | GapCause::Shipped => false,
    });
    let to = gaps.map(|gap| gap.to).max();
    to.unwrap_or(session.opened.opened_at)
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
        let (mut marked, mut again) = (Vec::new(), Vec::new());
        for session in recovered.open {
            let mark = session.opened.id.mark();
            let last_at = session.last_at.unwrap_or(session.opened.opened_at);
            // An adopted session is found by its marks, and has no others.
            let was_marked = was_marked(&session) && !session.opened.is_nameless();
            let covered_to = covered_to(&session);
            match self.resume(session, probe) {
                Found::Whole if was_marked => marked.push((mark, covered_to)),
                Found::Whole | Found::Unconfirmed => {}
                // This probe is not the one that recorded the session: the time since is unknown.
                Found::Unknown => {
                    again.push(unrecorded(mark, last_at, CloseReason::ProbeDetached));
                }
            }
        }
        self.record_behind_gaps(again, probe, out);
        self.mark_rest(&marked, probe, out);
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
        let was_marked = was_marked(&session);
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

    /// Marks the processes without a mark of sessions that an earlier collector marked: it may have been killed before it
    /// had marked all of them, or a map of the kernel was full. Each session comes with the end of its gaps so far.
    fn mark_rest(&mut self, marked: &[(Mark, BootNs)], probe: &mut Probe, out: &mut SpoolOut) {
        let marks: Vec<Mark> = marked.iter().map(|(mark, _)| *mark).collect();
        let markings = self.mark_running(&marks, probe);
        let now = boot_now();
        for ((mark, covered_to), marking) in marked.iter().zip(markings) {
            let cause = self.registry.get(*mark).and_then(|live| {
                let cause = match &live.opened.stamp {
                    _ if marking.problem.is_some() => Some(GapCause::MarksFull),
                    _ if !marking.is_any_new => None,
                    Stamp::InTime => Some(GapCause::ProbeAway),
                    _ => Some(GapCause::StampedLate),
                };
                Some((live.opened.id, cause?))
            });
            if let Some((id, cause)) = cause {
                warn!(session = %id, ?cause, "Processes of a session had no mark.");
                out.gap(Gap::new(cause, id, *covered_to, now));
            }
            self.note_marking(*mark, now, marking);
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

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::id::BootId;

    fn session(gaps: &[(GapCause, u64, u64)]) -> OpenSession {
        let id = SessionId::generate();
        let opened = SessionOpened {
            stamp: Stamp::InTime,
            ..SessionOpened::unknown(id, BootNs(5))
        };
        let gaps = gaps.iter();
        let gaps = gaps.map(|(cause, from, to)| Gap::new(*cause, id, BootNs(*from), BootNs(*to)));
        OpenSession {
            opened,
            boot_id: BootId::from_uuid(uuid::Uuid::from_u128(1)),
            stored: 9,
            last_at: Some(BootNs(90)),
            last_seq: 9,
            gaps: gaps.collect(),
        }
    }

    #[test]
    fn a_session_lacks_marks_since_the_gap_before_its_marking() {
        use GapCause::{MarksFull, ProbeAway, RingFull};
        let away = (ProbeAway, 10, 20);
        // Events of the marked processes came later.
        assert_eq!(
            covered_to(&session(&[away, (RingFull, 60, 70)])),
            BootNs(20)
        );
        assert_eq!(
            covered_to(&session(&[away, (MarksFull, 20, 40)])),
            BootNs(40)
        );
        assert_eq!(covered_to(&session(&[])), BootNs(5));
    }

    #[test]
    fn a_session_behind_a_new_probe_has_been_marked() {
        assert!(was_marked(&session(&[(GapCause::ProbeAway, 10, 20)])));
        assert!(!was_marked(&session(&[(GapCause::RingFull, 10, 20)])));
        let late = session(&[]);
        let opened = SessionOpened {
            stamp: Stamp::Late,
            ..late.opened
        };
        assert!(was_marked(&OpenSession { opened, ..late }));
    }
}
