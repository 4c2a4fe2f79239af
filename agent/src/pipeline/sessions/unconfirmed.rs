//! Sessions in the journal of which the kernel has recorded nothing yet: the collector that wrote them was killed
//! before it marked the login, or its disk was slower than the hook waits.
//!
//! The first of three facts decides about such a session:
//!
//! - Its hook asks again. The hook does that only while it holds the login, so nothing has run yet: the login is
//!   marked now, and the session is in time and has no gap.
//! - Its hook left a file and let the login continue: the session is stamped late, like any other.
//! - Neither happens in the time that a hook waits: if the login is alive, it is recorded from now on behind a gap.
//!   Otherwise nothing of it was recorded.
//!
//! Marking before journaling would avoid this state, but after a crash a mark without a journal entry could not be
//! attributed.

use std::time::Duration;

use vctl_common::session::{CloseReason, GapCause, Stamp};
use vctl_common::time::BootNs;
use vctl_common::wire::{Mark, SessionCounters, TaskMark};

use crate::pipeline::spool_out::SpoolOut;
use crate::probe::Probe;
use crate::session::boot_now;
use crate::session::protocol::HELD_FOR;
use crate::spool::OpenSession;

use super::Sessions;
use super::behind_gap::BehindGap;

/// Time from the start of a hook within which it answers the login or leaves its file.
const DECIDED_AFTER: Duration = HELD_FOR.saturating_add(Duration::from_secs(1));

/// Returns whether the hook still holds a login that asked at `asked_at`.
pub(super) fn is_held(asked_at: BootNs, now: BootNs) -> bool {
    now.since(asked_at) < HELD_FOR
}

/// Returns whether the kernel has recorded nothing of a session and has not marked its login.
///
/// `kernel` and `leader` are the kernel's entries for the session and for the login's pid.
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

impl Sessions {
    /// Decides on the sessions after the time in which their hook would ask again or leave a file.
    pub(in crate::pipeline) fn decide_unconfirmed(
        &mut self,
        probe: &mut Probe,
        out: &mut SpoolOut,
    ) {
        let now = boot_now();
        let opened_at = |mark: &Mark| Some(self.registry.get(*mark)?.opened.opened_at);
        let decided: Vec<BehindGap> = self
            .unconfirmed
            .iter()
            .filter_map(|mark| Some((*mark, opened_at(mark)?)))
            .filter(|(_, opened_at)| now.since(*opened_at) >= DECIDED_AFTER)
            .map(|(mark, opened_at)| unrecorded(mark, opened_at, CloseReason::NeverRecorded))
            .collect();
        for session in &decided {
            self.unconfirmed.remove(&session.mark);
        }
        self.record_behind_gaps(decided, probe, out);
    }
}

/// A session of which nothing is known since `from`.
pub(super) fn unrecorded(mark: Mark, from: BootNs, or_close: CloseReason) -> BehindGap {
    BehindGap {
        mark,
        cause: GapCause::ProbeAway,
        from,
        or_close,
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
            ..SessionOpened::unknown(SessionId::generate(), BootNs(1))
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
            noted_exec: 0,
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
        // An sshd that was started inside a session passes that mark on to every login.
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
        // Its login has ended.
        assert!(!has_not_begun(&session, Some(counted(1)), None));
    }

    #[test]
    fn a_session_with_events_in_the_spool_has_begun() {
        let recorded = OpenSession {
            stored: 1,
            ..in_the_journal(Stamp::InTime)
        };
        assert!(!has_not_begun(&recorded, None, None));
        // A late stamp has its own gap: no second request can correct it.
        assert!(!has_not_begun(&in_the_journal(Stamp::Late), None, None));
    }

    #[test]
    fn a_login_is_held_for_no_longer_than_its_hook_waits() {
        let asked = BootNs(1_000_000_000);
        assert!(is_held(asked, BootNs(2_999_999_999)));
        assert!(!is_held(asked, BootNs(3_000_000_000)));
    }
}
