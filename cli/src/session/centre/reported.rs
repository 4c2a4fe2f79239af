//! Sessions already reported to a follower, so that nothing is reported twice.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::rc::Rc;

use uuid::Uuid;
use vctl_common::pg::tokio_postgres::Transaction;
use vctl_common::session::{CloseReason, Gap};

use super::events;
use super::row::StoredSession;
use crate::error::Stop;
use crate::session::model::{Event, MissingRange, Session, Update};

/// Events may arrive slightly out of order; a sequence number this far behind the others is not waited for.
const LATEST: usize = 1_000;
/// Ended sessions that are remembered. Late events follow the end within seconds.
const REMEMBERED: usize = 1_000;

/// A followed session, with what was already reported of it.
pub(super) struct FollowedSession {
    session: Rc<Session>,
    pub(super) stored: i64,
    pub(super) gaps: i64,
    reported_gaps: HashSet<Gap>,
    pub(super) reported: ReportedEvents,
    end: Option<ReportedEnd>,
}

/// The end of a session that was reported last.
struct ReportedEnd {
    /// The host could not record the session. It may still do so.
    is_never_recorded: bool,
    /// It ended while it was followed.
    is_live: bool,
    /// The transaction with which the session had arrived.
    arrived: Option<u64>,
}

/// Sessions with an end that was reported lately.
#[derive(Default)]
pub(super) struct EndedSessions {
    sessions: HashMap<Uuid, FollowedSession>,
    /// Also those that were removed since.
    oldest_first: VecDeque<Uuid>,
}

/// Sequence numbers of the events that were reported.
#[derive(Default)]
pub(super) struct ReportedEvents {
    /// All numbers up to this one were reported, or will not be waited for.
    pub(super) up_to: u64,
    beyond: BTreeSet<u64>,
}

impl ReportedEvents {
    /// Records the number. Returns whether it is new.
    fn insert_new(&mut self, seq: u64) -> bool {
        if seq <= self.up_to || !self.beyond.insert(seq) {
            return false;
        }
        while self.beyond.len() > LATEST || self.beyond.first() == Some(&(self.up_to + 1)) {
            self.up_to = self.beyond.pop_first().unwrap_or(self.up_to);
        }
        true
    }
}

impl FollowedSession {
    pub(super) fn new(session: Rc<Session>, found: &StoredSession) -> Self {
        Self {
            session,
            stored: 0,
            gaps: 0,
            reported_gaps: found.record.gaps.iter().cloned().collect(),
            reported: ReportedEvents::default(),
            end: None,
        }
    }

    /// Records that the end of `session` is reported; `is_live` if it came while the session was followed.
    pub(super) fn end(&mut self, session: &Session, arrived: Option<u64>, is_live: bool) {
        let reason = session.closed.as_ref().map(|closed| closed.reason);
        self.end = Some(ReportedEnd {
            is_never_recorded: reason == Some(CloseReason::NeverRecorded),
            is_live,
            arrived,
        });
    }

    /// Returns whether the host records the session after an end that says that it never was.
    pub(super) fn is_recorded_again(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.is_never_recorded)
    }

    pub(super) fn begin_again(&mut self, session: Rc<Session>) {
        self.session = session;
        self.end = None;
    }

    pub(super) fn new_missing_ranges(&mut self, found: &StoredSession) -> Vec<MissingRange> {
        let gaps = found.record.gaps.iter();
        gaps.filter(|gap| self.reported_gaps.insert((*gap).clone()))
            .map(MissingRange::from)
            .collect()
    }

    pub(super) fn report(
        &mut self,
        (events, ranges): (Vec<Event>, Vec<MissingRange>),
        updates: &mut Vec<Update>,
    ) {
        let mut ranges = ranges.into_iter().peekable();
        for event in events {
            if !self.reported.insert_new(event.event.session_seq) {
                continue;
            }
            while let Some(range) = ranges.next_if(|range| range.from < event.event.at) {
                updates.push(Update::Missing(self.session.clone(), range));
            }
            updates.push(Update::Event(self.session.clone(), event));
        }
        updates.extend(ranges.map(|range| Update::Missing(self.session.clone(), range)));
    }
}

impl EndedSessions {
    pub(super) fn insert(&mut self, id: Uuid, session: FollowedSession) {
        self.sessions.insert(id, session);
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.sessions.remove(&oldest);
        }
    }

    /// Returns a session that has arrived again, and forgets it.
    pub(super) fn remove(&mut self, id: Uuid) -> Option<FollowedSession> {
        self.sessions.remove(&id)
    }

    /// Returns whether the session is known to have ended, and has not arrived again since.
    pub(super) fn has(&self, id: Uuid, arrived: Option<u64>) -> bool {
        let end = self.sessions.get(&id).and_then(|ended| ended.end.as_ref());
        end.is_some_and(|end| end.arrived == arrived)
    }

    /// Returns the sessions that ended while they were followed, and that their host may still record.
    pub(super) fn awaited(&self) -> impl Iterator<Item = Uuid> {
        let is_awaited = |ended: &FollowedSession| {
            let end = ended.end.as_ref();
            end.is_some_and(|end| end.is_never_recorded && end.is_live)
        };
        let awaited = self
            .sessions
            .iter()
            .filter(move |(_, ended)| is_awaited(ended));
        awaited.map(|(id, _)| *id)
    }
}

/// Returns the numbers of all events that are stored.
pub(super) async fn reported_before(
    transaction: &Transaction<'_>,
    found: &StoredSession,
) -> Result<ReportedEvents, Stop> {
    let mut reported = ReportedEvents::default();
    if found.record.stored == found.record.last_seq {
        reported.up_to = found.record.last_seq;
        return Ok(reported);
    }
    for event in events::after(transaction, found, 0).await?.events {
        reported.insert_new(event.event.session_seq);
    }
    Ok(reported)
}
