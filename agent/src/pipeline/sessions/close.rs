//! The end of a session: with its last marked process, and with every number accounted for.

use tracing::debug;
use vctl_common::id::SessionId;
use vctl_common::session::{CloseReason, Gap, GapCause, SessionClosed};
use vctl_common::time::BootNs;
use vctl_common::wire::{Exit, Header, Mark, SessionCounters};

use crate::pipeline::skip_watch::SkipWatch;
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
        skips: &mut SkipWatch,
        out: &mut SpoolOut,
    ) {
        let mut whole = Vec::new();
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
                whole.push((mark, at, *counters));
            } else {
                ending.patience -= 1;
                self.endings.push(ending);
            }
        }
        if whole.is_empty() {
            return;
        }
        // Behind its end, a session would look complete until the gap follows.
        skips.look(probe, out);
        let now = boot_now();
        for (mark, at, counters) in whole {
            self.report_missing(mark, &counters, now, out);
            let reason = CloseReason::LastProcessEnded;
            self.close(mark, at, reason, Some(counters.seq), probe, out);
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

    /// States the losses of a session, unless its last statement is too short ago. Returns when they are due then.
    pub(in crate::pipeline) fn state_losses(
        &mut self,
        mark: Mark,
        counters: &SessionCounters,
        now: BootNs,
        out: &mut SpoolOut,
    ) -> Option<BootNs> {
        let losses = self.registry.get(mark)?.losses;
        let due_at = losses.due_at();
        if now >= due_at {
            self.report_missing(mark, counters, now, out);
            return None;
        }
        let sequence = self.sequences.get(&mark);
        let is_whole = sequence.map_or(counters.seq == 0, |sequence| {
            sequence.is_whole(counters.seq)
        });
        let is_any = !is_whole || losses.lacks_forks(counters.unmarked_forks);
        is_any.then_some(due_at)
    }

    /// Writes gaps for the numbers of a session that did not arrive: one for each run of numbers, as long as these are
    /// few. And one for the children without a mark.
    pub(in crate::pipeline) fn report_missing(
        &mut self,
        mark: Mark,
        counters: &SessionCounters,
        now: BootNs,
        out: &mut SpoolOut,
    ) {
        let Some(session) = self.registry.get_mut(mark) else {
            return;
        };
        let id = session.opened.id;
        let spool_lost = session.spool_lost;
        let begin = session.begin();
        let forks = counters.unmarked_forks;
        let lacks_forks = session.losses.lacks_forks(forks);
        if lacks_forks {
            let from = session.losses.state_forks(forks, begin, now);
            out.gap(Gap::new(GapCause::MarksFull, id, from, now));
        }
        let sequence = self.sequences.entry(mark).or_default();
        let missing = sequence.give_up(counters.seq, now);
        if lacks_forks || !missing.is_empty() {
            session.losses.note_statement(now);
        }
        for run in missing {
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
    use std::path::Path;
    use std::rc::Rc;

    use vctl_common::id::BootId;
    use vctl_common::session::{JournalEntry, SessionOpened};
    use vctl_common::spool::SpoolReader;
    use vctl_common::status::CollectorStatus;

    use super::*;
    use crate::config::Config;
    use crate::probe::ring::tests::ring_of;
    use crate::proc::reader::ProcReader;
    use crate::spool::{SpoolConfig, SpoolWriter};

    /// Sessions that begin at 1, and a new spool in `dir`.
    fn opened<const N: usize>(dir: &Path) -> (Sessions, SpoolOut, [SessionId; N]) {
        let (writer, _) = SpoolWriter::open(&SpoolConfig {
            dir: dir.to_owned(),
            cap_bytes: 64 << 20,
            segment_bytes: 16 << 20,
            host: "web-1".to_owned(),
            boot_id: BootId::from_uuid(uuid::Uuid::from_u128(1)),
        })
        .unwrap();
        let before = CollectorStatus::default();
        let ring = (Rc::new(ring_of(&[])), 1);
        let mut out = SpoolOut::new(writer, None, ring, &before, None);
        let mut sessions = Sessions::new(&Config::default(), ProcReader::host(), &before);
        let ids = [0; N].map(|_| {
            let id = SessionId::generate();
            let opened = SessionOpened::unknown(id, BootNs(1));
            out.push_entry(&JournalEntry::Opened(Box::new(opened.clone())));
            sessions.registry.open(opened);
            id
        });
        (sessions, out, ids)
    }

    fn counted(seq: u64, unmarked_forks: u64) -> SessionCounters {
        SessionCounters {
            seq,
            unmarked_forks,
            ..SessionCounters::default()
        }
    }

    #[test]
    fn losses_of_each_second_of_a_day_are_few_gaps_in_a_row() {
        const SECOND: u64 = 1_000_000_000;
        const DAY: u64 = 86_400;
        let dir = tempfile::tempdir().unwrap();
        let (mut sessions, mut out, [id]) = opened(dir.path());
        let mark = id.mark();
        for second in 1..=DAY {
            let now = BootNs(second * SECOND);
            let sequence = sessions.sequences.entry(mark).or_default();
            sequence.see(second * 2, now);
            let due = sessions.state_losses(mark, &counted(second * 2, second), now, &mut out);
            assert!(due.is_none_or(|due| due > now && due.0 <= now.0 + 3600 * SECOND));
        }
        let end = BootNs((DAY + 1) * SECOND);
        sessions.report_missing(mark, &counted(DAY * 2, DAY), end, &mut out);
        out.flush();

        let stored = SpoolReader::open(dir.path()).unwrap();
        let stored = stored.sessions_of(vec![mark]).unwrap().remove(0);
        let of = |cause| stored.gaps.iter().filter(move |gap| gap.cause == cause);
        let unmarked: Vec<_> = of(GapCause::MarksFull)
            .map(|gap| (gap.from, gap.to))
            .collect();
        assert!(unmarked.len() < 200, "{} gaps", unmarked.len());
        assert_eq!(unmarked[0].0, BootNs(1));
        assert!(unmarked.windows(2).all(|two| two[0].1 == two[1].0));
        assert_eq!(unmarked[unmarked.len() - 1].1, end);
        // Their number is exact all the same.
        let lost = of(GapCause::RingFull).filter_map(|gap| gap.events);
        assert_eq!(lost.sum::<u64>(), DAY);
        assert!(of(GapCause::RingFull).count() < 2000);
    }

    #[test]
    fn one_look_with_many_losses_drops_no_gap_and_no_end() {
        let dir = tempfile::tempdir().unwrap();
        let (mut sessions, mut out, [flood, unmarked, over]) = opened(dir.path());
        let sequence = sessions.sequences.entry(flood.mark()).or_default();
        for n in 1..=40_000 {
            sequence.see(n * 2, BootNs(n));
        }

        sessions.report_missing(flood.mark(), &counted(80_000, 0), BootNs(9), &mut out);
        sessions.report_missing(unmarked.mark(), &counted(0, 1), BootNs(9), &mut out);
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
