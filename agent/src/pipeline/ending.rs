//! How a session ends: with its last marked process, and with every number accounted for.

use vctl_common::session::{CloseReason, JournalEntry, SessionClosed};
use vctl_common::time::BootNs;
use vctl_common::wire::{Mark, SessionCounters};

use super::collector::Collector;

/// A session whose last process has ended, but of which records may still be on their way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) mark: Mark,
    pub(super) at: BootNs,
    /// Looks at the ring that are left to wait.
    patience: u8,
}

/// A record can be some milliseconds behind its number; a session is not kept open for longer.
const PATIENCE: u8 = 4;

impl Collector {
    pub(super) fn last_process_ended(&mut self, mark: Mark, at: BootNs) {
        if self.endings.iter().all(|ending| ending.mark != mark) {
            self.endings.push(Ending {
                mark,
                at,
                patience: PATIENCE,
            });
        }
    }

    /// Closes the sessions that have ended and of which nothing is on its way any more.
    pub(super) fn end_sessions(&mut self, produced: &[(Mark, SessionCounters)]) {
        for mut ending in std::mem::take(&mut self.endings) {
            // Known only since this look: its numbers are taken with the next one.
            let known = produced.iter().find(|(mark, _)| *mark == ending.mark);
            let Some((_, counters)) = known else {
                if self.probe.maps.session(ending.mark).is_some() {
                    self.endings.push(ending);
                } else {
                    self.close(ending.mark, ending.at, CloseReason::LastProcessEnded, None);
                }
                continue;
            };
            let whole = self
                .sequences
                .get(&ending.mark)
                .is_some_and(|sequence| sequence.is_whole(counters.seq));
            if whole || ending.patience == 0 {
                self.tell_missing(ending.mark, counters);
                let produced = Some(counters.seq);
                self.close(
                    ending.mark,
                    ending.at,
                    CloseReason::LastProcessEnded,
                    produced,
                );
            } else {
                ending.patience -= 1;
                self.endings.push(ending);
            }
        }
    }

    /// Takes a session out of kernel and registry and writes its end.
    pub(super) fn close(
        &mut self,
        mark: Mark,
        at: BootNs,
        reason: CloseReason,
        produced: Option<u64>,
    ) {
        self.probe.maps.close_session(mark);
        self.sequences.remove(&mark);
        self.held.remove(&mark);
        let Some(session) = self.registry.close(mark) else {
            return;
        };
        self.forget_login(session.opened.audit_session);
        self.budget.close(&session);
        self.journal(JournalEntry::Closed(SessionClosed {
            id: session.opened.id,
            at,
            reason,
            produced,
            stored: session.stored,
            leader_ended_at: session.leader_ended_at,
        }));
    }
}
