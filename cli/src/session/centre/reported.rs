//! Sessions already reported to a follower, so that nothing is reported twice.

use std::collections::BTreeSet;
use std::rc::Rc;

use vctl_common::pg::tokio_postgres::Transaction;
use vctl_common::session::Gap;

use super::events;
use super::row::StoredSession;
use crate::error::Stop;
use crate::session::model::{Event, MissingRange, Session, Update};

/// Events may arrive slightly out of order; a sequence number this far behind the others is not waited for.
const LATEST: usize = 1_000;

/// A followed session, with what was already reported of it.
pub(super) struct FollowedSession {
    session: Rc<Session>,
    pub(super) stored: i64,
    pub(super) gaps: i64,
    reported_gaps: Vec<Gap>,
    pub(super) reported: ReportedEvents,
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
            reported_gaps: found.record.gaps.clone(),
            reported: ReportedEvents::default(),
        }
    }

    pub(super) fn new_missing_ranges(&mut self, found: &StoredSession) -> Vec<MissingRange> {
        let gaps = found.record.gaps.iter();
        let new: Vec<Gap> = gaps
            .filter(|gap| !self.reported_gaps.contains(gap))
            .cloned()
            .collect();
        self.reported_gaps.extend(new.iter().cloned());
        new.iter().map(MissingRange::from).collect()
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
