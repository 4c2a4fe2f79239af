//! The parts of sessions that were exported, so that no part is exported twice.
//!
//! A host may record more of a session behind its end: events that come late, or a login that it could not record at
//! first. Such a session arrives again, and only what is new is exported. A session that is no longer remembered is
//! exported from its beginning, with the same ids, so nothing is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vctl_common::session::{CloseReason, SessionClosed};

use super::numbers::NumberSet;

/// Each batch writes the checkpoint, with some hundred bytes for each session.
const REMEMBERED: usize = 1024;
/// Late events follow the end within seconds, and a login that could not be recorded within minutes.
const LONGEST: Duration = Duration::from_hours(1);

/// The parts of a session that were exported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExportedParts {
    pub(crate) opening: bool,
    pub(crate) events: NumberSet,
    /// Words of the contradictions.
    pub(crate) contradictions: BTreeSet<String>,
    /// The transaction that had stored the session when its opening was exported, 0 if it was stored before the export
    /// began; `None` for parts from an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) opened_by: Option<u64>,
    /// The end that was exported last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<ExportedEnd>,
}

/// Sessions with an end that was exported lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct EndedSessions(BTreeMap<Uuid, EndedSession>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndedSession {
    /// Time of the export of its end, by the clock of this machine.
    at: Timestamp,
    parts: ExportedParts,
}

/// The end of a session that was exported last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ExportedEnd {
    /// The host could not record the session. It may still do so.
    NeverRecorded,
    /// An end after this number of stored events.
    After(u64),
}

impl EndedSessions {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, id: Uuid) -> Option<&ExportedParts> {
        self.0.get(&id).map(|ended| &ended.parts)
    }

    pub(super) fn remove(&mut self, id: Uuid) -> Option<ExportedParts> {
        self.0.remove(&id).map(|ended| ended.parts)
    }

    pub(super) fn insert(&mut self, id: Uuid, parts: ExportedParts, at: Timestamp) {
        self.0.insert(id, EndedSession { at, parts });
        while self.0.len() > REMEMBERED
            && let Some(oldest) = self.oldest()
        {
            self.0.remove(&oldest);
        }
    }

    pub(super) fn forget_old(&mut self, now: Timestamp) {
        let is_old = |at: Timestamp| now.duration_since(at).unsigned_abs() > LONGEST;
        self.0.retain(|_, ended| !is_old(ended.at));
    }

    fn oldest(&self) -> Option<Uuid> {
        let oldest = self.0.iter().min_by_key(|(_, ended)| ended.at);
        oldest.map(|(id, _)| *id)
    }
}

impl ExportedEnd {
    /// Returns this end and the name of its record, which is part of `event.id`; `None` if `before` was the same end.
    ///
    /// The name depends on the stored session alone: an export that no longer remembers an earlier end gives the same end
    /// the same name, and another end another name.
    pub(super) fn new(
        closed: &SessionClosed,
        stored: u64,
        before: Option<Self>,
    ) -> Option<(Self, String)> {
        let (end, name) = match closed.reason {
            CloseReason::NeverRecorded => (Self::NeverRecorded, "never-recorded".to_owned()),
            // All events that the host had at the end, and no others.
            _ if stored == closed.stored => (Self::After(stored), "closed".to_owned()),
            _ => (Self::After(stored), format!("closed-{stored}")),
        };
        let is_known = match end {
            Self::NeverRecorded => before.is_some(),
            Self::After(_) => before == Some(end),
        };
        (!is_known).then_some((end, name))
    }
}

#[cfg(test)]
mod tests {
    use vctl_common::id::SessionId;
    use vctl_common::time::BootNs;

    use super::*;

    fn closed(reason: CloseReason, stored: u64) -> SessionClosed {
        SessionClosed {
            id: SessionId::generate(),
            at: BootNs(9),
            reason,
            produced: None,
            stored,
            leader_ended_at: None,
            requested: None,
        }
    }

    #[test]
    fn each_end_of_a_session_has_its_own_name_once() {
        let mut before = None;
        let mut name = |closed: &SessionClosed, stored| {
            let (end, name) = ExportedEnd::new(closed, stored, before)?;
            before = Some(end);
            Some(name)
        };
        let never = closed(CloseReason::NeverRecorded, 0);
        assert_eq!(name(&never, 0).as_deref(), Some("never-recorded"));
        assert_eq!(name(&never, 0), None);
        let ended = closed(CloseReason::LastProcessEnded, 3);
        assert_eq!(name(&ended, 3).as_deref(), Some("closed"));
        assert_eq!(name(&ended, 3), None);
        assert_eq!(name(&ended, 5).as_deref(), Some("closed-5"));
    }

    #[test]
    fn a_forgotten_end_keeps_its_name_and_leaves_it_to_no_other() {
        let ended = closed(CloseReason::LastProcessEnded, 3);
        let name = |stored| ExportedEnd::new(&ended, stored, None).unwrap().1;
        assert_eq!([name(3), name(5)], ["closed", "closed-5"]);
        // Events that the spool deleted before they were sent.
        assert_eq!(name(2), "closed-2");
    }

    #[test]
    fn the_oldest_ended_sessions_are_forgotten() {
        let second = |n: usize| Timestamp::from_second(i64::try_from(n).unwrap()).unwrap();
        let id = |n: usize| Uuid::from_u128(n as u128);
        let mut ended = EndedSessions::default();
        for n in 0..=REMEMBERED {
            ended.insert(id(n), ExportedParts::default(), second(n));
        }
        assert!(ended.get(id(0)).is_none() && ended.get(id(1)).is_some());
        ended.forget_old(second(3602));
        assert!(ended.get(id(1)).is_none() && ended.get(id(2)).is_some());
    }
}
