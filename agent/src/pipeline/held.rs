//! Sessions that stand in the journal, and of which the kernel has recorded nothing yet: the collector
//! that wrote them was killed before it came to that, or its disk took longer than a login is held.
//!
//! What such a session is, the first of three facts decides:
//!
//! - Its hook asks again. It does that only while it holds the login, so nothing has run yet: the
//!   kernel is told now, and the session is in time and has no gap.
//! - Its hook left a marker and let the login go on: the session is stamped late, as any other.
//! - Nothing of both, and no hook waits that long: from now on it is recorded behind a gap if its
//!   login is alive, and else it never was.
//!
//! The kernel is not told first, though then no such session could be: of a mark that only the kernel
//! knows, nobody could say whose it is.

use std::time::Duration;

use tracing::{info, warn};
use vctl_common::id::ProcessId;
use vctl_common::session::{CloseReason, Gap, GapCause, Stamp};
use vctl_common::time::BootNs;
use vctl_common::wire::{Mark, SessionCounters, TaskMark};

use crate::session::boot_now;
use crate::session::protocol::HELD_FOR;
use crate::spool::OpenSession;

use super::collector::Collector;

/// A hook that gave up leaves its marker within this, from its start on.
const DECIDED_AFTER: Duration = HELD_FOR.saturating_add(Duration::from_secs(1));

/// Returns whether a login that asked at `asked_at` is still held.
pub(super) fn is_held(asked_at: BootNs, now: BootNs) -> bool {
    now.since(asked_at) < HELD_FOR
}

/// Returns whether the kernel has recorded nothing of a session, not even marked its login.
///
/// `kernel` and `leader` are what the kernel has for the session and for the login's pid.
pub(super) fn has_not_begun(
    session: &OpenSession,
    kernel: Option<SessionCounters>,
    leader: Option<TaskMark>,
) -> bool {
    let mark = session.opened.id.mark();
    session.opened.stamp == Stamp::InTime
        && session.stored == 0
        && session.gaps.is_empty()
        && kernel.is_none_or(|counters| counters.seq == 0)
        && leader.is_none_or(|leader| leader.session != mark)
}

impl Collector {
    /// Decides on the sessions whose hook neither asked again nor left a marker.
    pub(super) fn decide_held(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let now = boot_now();
        for mark in self.held.iter().copied().collect::<Vec<Mark>>() {
            let opened = self.registry.get(mark).map(|live| live.opened.opened_at);
            if let Some(opened) = opened.filter(|opened| now.since(*opened) >= DECIDED_AFTER) {
                self.record_again(mark, opened, CloseReason::NeverRecorded);
            }
        }
    }

    /// Takes up a session of which nothing is known since `from`; one without a process left is closed.
    pub(super) fn record_again(&mut self, mark: Mark, from: BootNs, or_close: CloseReason) {
        self.held.remove(&mark);
        let Some(live) = self.registry.get(mark) else {
            return;
        };
        let id = live.opened.id;
        let ProcessId { tgid, .. } = live.opened.leader;
        let alive = self.logins.is_alive(live.opened.leader).then_some(tgid);
        let audit_session = live.opened.audit_session;
        let now = boot_now();
        self.gap(Gap {
            session: Some(id),
            cause: GapCause::ProbeAway,
            events: None,
            first_seq: None,
            last_seq: None,
            cpu: None,
            from,
            to: now,
        });
        // Before the kernel knows the session: killed in between, the next agent would take it for
        // one that was recorded all the time.
        let to = self.unwritten.unwrap_or(self.position);
        self.commit(to);
        if self.mark_tree(mark, alive, audit_session) > 0 {
            warn!(session = %id, "Took a session up again that was not recorded for a while.");
            self.sequences.entry(mark).or_default();
        } else {
            info!(session = %id, "A session that was not recorded has no process left.");
            self.close(mark, now, or_close, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::id::{BootId, SessionId};
    use vctl_common::session::SessionOpened;

    fn in_the_journal(stamp: Stamp) -> OpenSession {
        let opened = SessionOpened {
            stamp,
            ..super::super::recover::unknown_session(SessionId::generate().mark())
        };
        let boot_id: BootId = "01234567-89ab-4cde-8f01-23456789abcd".parse().unwrap();
        OpenSession {
            opened,
            boot_id,
            stored: 0,
            last_at: None,
            last_seq: 0,
            gaps: Vec::new(),
        }
    }

    fn counted(seq: u64) -> SessionCounters {
        SessionCounters {
            alive: 1,
            seq,
            ..Default::default()
        }
    }

    fn marked(session: Mark) -> TaskMark {
        TaskMark {
            session,
            start: 0,
            marked: 0,
            role: 0,
            groups: 0,
        }
    }

    #[test]
    fn a_session_has_not_begun_until_its_login_is_marked() {
        let session = in_the_journal(Stamp::InTime);
        let mark = session.opened.id.mark();
        assert!(has_not_begun(&session, None, None));
        assert!(has_not_begun(&session, Some(counted(0)), None));
        // An sshd that was started inside somebody's session hands that mark on to every login.
        assert!(has_not_begun(
            &session,
            Some(counted(0)),
            Some(marked(mark ^ 1))
        ));
        assert!(!has_not_begun(
            &session,
            Some(counted(0)),
            Some(marked(mark))
        ));
        // Its login has come and gone.
        assert!(!has_not_begun(&session, Some(counted(1)), None));
    }

    #[test]
    fn a_session_of_which_the_spool_has_anything_has_begun() {
        let recorded = OpenSession {
            stored: 1,
            ..in_the_journal(Stamp::InTime)
        };
        assert!(!has_not_begun(&recorded, None, None));
        // What was late has its own gap: no second request can put it right.
        assert!(!has_not_begun(&in_the_journal(Stamp::Late), None, None));
    }

    #[test]
    fn a_login_is_held_for_no_longer_than_its_hook_waits() {
        let asked = BootNs(1_000_000_000);
        assert!(is_held(asked, BootNs(2_999_999_999)));
        assert!(!is_held(asked, BootNs(3_000_000_000)));
    }
}
