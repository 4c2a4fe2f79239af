//! The end of a session: with its last marked process, and with every number accounted for.

use tracing::debug;
use vctl_common::id::SessionId;
use vctl_common::session::{CloseReason, Gap, GapCause, SessionClosed};
use vctl_common::time::BootNs;
use vctl_common::wire::{Exit, Header, Mark, SessionCounters};

use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::session::boot_now;

use super::{Ending, Evidence, Sessions, forget_login};

/// Looks at the ring for which an ended session stays open. A record can be some milliseconds behind its number.
const PATIENCE: u8 = 4;

impl Sessions {
    /// Notes the exit of a process: of the login's own, or of the last one of its session.
    pub(in crate::pipeline) fn note_exit(&mut self, header: &Header, exit: &Exit) {
        let Some(session) = self.registry.get_mut(header.session) else {
            return;
        };
        if session.opened.leader.tgid == header.tgid && session.leader_ended_at.is_none() {
            session.leader_ended_at = Some(BootNs(header.at));
        }
        if exit.alive == 0 && !self.undercounted.contains(&header.session) {
            let at = BootNs(header.at);
            self.last_process_ended(header.session, at, Evidence::Counted);
            // Housekeeping may have found it first, and knows no time of the end.
            let mut endings = self.endings.iter_mut();
            if let Some(ending) = endings.find(|ending| ending.mark == header.session) {
                ending.at = at;
            }
        }
    }

    pub(super) fn last_process_ended(&mut self, mark: Mark, at: BootNs, evidence: Evidence) {
        if !self.is_ending(mark) {
            self.endings.push(Ending {
                mark,
                at,
                evidence,
                is_counted: false,
                patience: PATIENCE,
            });
        }
    }

    pub(super) fn is_ending(&self, mark: Mark) -> bool {
        self.endings.iter().any(|ending| ending.mark == mark)
    }

    pub(in crate::pipeline) fn is_any_ending(&self) -> bool {
        !self.endings.is_empty()
    }

    /// Closes the ended sessions, once all their records have arrived.
    pub(in crate::pipeline) fn close_ended(
        &mut self,
        produced: &[(Mark, SessionCounters)],
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) {
        for mut ending in std::mem::take(&mut self.endings) {
            let Ending { mark, at, .. } = ending;
            let reason = CloseReason::LastProcessEnded;
            let known = produced.iter().find(|(of, _)| *of == mark);
            let Some((_, counters)) = known.filter(|_| ending.is_counted) else {
                // Found during this look, so its counters are read with the next one.
                if probe.maps.session(mark).is_some() {
                    self.endings.push(ending);
                } else {
                    self.close(mark, at, reason, None, probe, out);
                }
                continue;
            };
            if !ending.evidence.holds(counters) {
                debug!(
                    mark,
                    alive = counters.alive,
                    "A session that seemed to be over goes on."
                );
                continue;
            }
            let sequence = self.sequences.get(&mark);
            let is_whole = sequence.is_some_and(|sequence| sequence.is_whole(counters.seq));
            if is_whole || ending.patience == 0 {
                self.report_missing(mark, counters, out);
                self.close(mark, at, reason, Some(counters.seq), probe, out);
            } else {
                ending.patience -= 1;
                self.endings.push(ending);
            }
        }
    }

    /// Removes a session from kernel and registry and writes its end.
    pub(super) fn close(
        &mut self,
        mark: Mark,
        at: BootNs,
        reason: CloseReason,
        produced: Option<u64>,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) {
        probe.maps.close_session(mark);
        self.sequences.remove(&mark);
        self.unconfirmed.remove(&mark);
        self.undercounted.remove(&mark);
        let unmarked = self.unmarked.remove(&mark);
        let Some(session) = self.registry.close(mark) else {
            return;
        };
        if let Some(unmarked) = unmarked {
            let id = session.opened.id;
            out.gap(Gap::new(GapCause::MarksFull, id, unmarked.since, at));
        }
        forget_login(probe, session.opened.audit_session);
        if let Some(audit_session) = session.opened.audit_session {
            probe.maps.forget_late(audit_session, mark);
        }
        self.budget.close(&session);
        self.closed.remember(&session.opened);
        out.end(SessionClosed {
            id: session.opened.id,
            at,
            reason,
            produced,
            stored: session.stored,
            leader_ended_at: session.leader_ended_at,
            requested: session.requested_end,
        });
    }

    /// Closes a session of which nothing was recorded, behind a gap.
    pub(super) fn never_recorded(
        &mut self,
        id: SessionId,
        to: BootNs,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) {
        let session = self.registry.by_id(id);
        let from = session.map_or(to, |session| session.opened.opened_at);
        out.gap(Gap::new(GapCause::ProbeAway, id, from, to));
        let reason = CloseReason::NeverRecorded;
        self.close(id.mark(), to, reason, None, probe, out);
    }

    /// Writes gaps for the numbers of a session that did not arrive: one for each run of numbers, as long as these are
    /// few.
    pub(in crate::pipeline) fn report_missing(
        &mut self,
        mark: Mark,
        counters: &SessionCounters,
        out: &mut SpoolOut,
    ) {
        let Some(session) = self.registry.get_mut(mark) else {
            return;
        };
        let id = session.opened.id;
        let spool_lost = session.spool_lost;
        let now = boot_now();
        if counters.unmarked_forks > session.unmarked_forks {
            session.unmarked_forks = counters.unmarked_forks;
            let opened = &session.opened;
            let from = opened.marked_at.unwrap_or(opened.opened_at);
            out.gap(Gap::new(GapCause::MarksFull, id, from, now));
        }
        let sequence = self.sequences.entry(mark).or_default();
        for run in sequence.give_up(counters.seq, now) {
            // The numbers before the first event of the ring were in the spool that is gone.
            let cause = if spool_lost && run.first_seq == 1 {
                GapCause::SpoolDamaged
            } else {
                GapCause::RingFull
            };
            let gap = Gap::new(cause, id, run.from, run.to);
            let gap = gap.with_events(run.events);
            out.gap(gap.with_numbers(run.first_seq, run.last_seq));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use vctl_common::id::BootId;
    use vctl_common::session::{JournalEntry, SessionOpened};
    use vctl_common::spool::SpoolReader;
    use vctl_common::status::CollectorStatus;

    use super::*;
    use crate::config::Config;
    use crate::probe::ring::tests::ring_of;
    use crate::session::login::LoginReader;
    use crate::spool::{SpoolConfig, SpoolWriter};

    #[test]
    fn one_look_with_many_losses_drops_no_gap_and_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let (writer, _) = SpoolWriter::open(&SpoolConfig {
            dir: dir.path().to_owned(),
            cap_bytes: 64 << 20,
            segment_bytes: 16 << 20,
            host: "web-1".to_owned(),
            boot_id: BootId::from_uuid(uuid::Uuid::from_u128(1)),
        })
        .unwrap();
        let before = CollectorStatus::default();
        let ring = (Rc::new(ring_of(&[])), 1);
        let mut out = SpoolOut::new(writer, None, ring, &before, None);
        let mut sessions = Sessions::new(&Config::default(), LoginReader::host(), &before);
        let [flood, unmarked, over] = [0; 3].map(|_| {
            let id = SessionId::generate();
            let opened = SessionOpened::unknown(id, BootNs(1));
            out.push_entry(&JournalEntry::Opened(Box::new(opened.clone())));
            sessions.registry.open(opened);
            id
        });
        let sequence = sessions.sequences.entry(flood.mark()).or_default();
        for n in 1..=40_000 {
            sequence.see(n * 2, BootNs(n));
        }

        let counted = |seq, unmarked_forks| SessionCounters {
            seq,
            unmarked_forks,
            ..SessionCounters::default()
        };
        sessions.report_missing(flood.mark(), &counted(80_000, 0), &mut out);
        sessions.report_missing(unmarked.mark(), &counted(0, 1), &mut out);
        out.end(SessionClosed {
            id: over,
            at: BootNs(9),
            reason: CloseReason::LastProcessEnded,
            produced: Some(0),
            stored: 0,
            leader_ended_at: None,
            requested: None,
        });
        out.flush();

        let stored = SpoolReader::open(dir.path()).unwrap();
        let stored = stored
            .sessions_of(vec![flood.mark(), unmarked.mark(), over.mark()])
            .unwrap();
        let of = |id| stored.iter().find(|one| one.opened.id == id).unwrap();
        let lost = of(flood).gaps.iter().filter_map(|gap| gap.events);
        assert_eq!(lost.sum::<u64>(), 40_000);
        let gaps = of(unmarked).gaps.iter().map(|gap| gap.cause);
        assert_eq!(gaps.collect::<Vec<_>>(), [GapCause::MarksFull]);
        assert!(of(over).closed.is_some());
    }
}
