//! Sessions already reported to a follower, so that nothing is reported twice.

use std::collections::BTreeSet;
use std::rc::Rc;

use vctl_common::pg::tokio_postgres::Transaction;
use vctl_common::session::Gap;

use super::events;
use super::row::Found;
use crate::error::Stop;
use crate::session::model::{Event, Hole, Session, Update};

/// Events may arrive slightly out of order; a sequence number this far behind the others is not waited for.
const LATEST: usize = 1_000;

/// A followed session, with what was already reported of it.
pub(super) struct Known {
    session: Rc<Session>,
    pub(super) stored: i64,
    pub(super) gaps: i64,
    told_gaps: Vec<Gap>,
    pub(super) told: Told,
}

/// Sequence numbers of the events that were reported.
#[derive(Default)]
pub(super) struct Told {
    /// All numbers up to this one were reported, or will not be waited for.
    pub(super) up_to: u64,
    beyond: BTreeSet<u64>,
}

impl Told {
    /// Records the number. Returns whether it is new.
    fn take(&mut self, seq: u64) -> bool {
        if seq <= self.up_to || !self.beyond.insert(seq) {
            return false;
        }
        while self.beyond.len() > LATEST || self.beyond.first() == Some(&(self.up_to + 1)) {
            self.up_to = self.beyond.pop_first().unwrap_or(self.up_to);
        }
        true
    }
}

impl Known {
    pub(super) fn new(session: Rc<Session>, found: &Found) -> Self {
        Self {
            session,
            stored: 0,
            gaps: 0,
            told_gaps: found.record.gaps.clone(),
            told: Told::default(),
        }
    }

    pub(super) fn new_holes(&mut self, found: &Found) -> Vec<Hole> {
        let gaps = found.record.gaps.iter();
        let new: Vec<Gap> = gaps
            .filter(|gap| !self.told_gaps.contains(gap))
            .cloned()
            .collect();
        self.told_gaps.extend(new.iter().cloned());
        new.iter().map(Hole::from).collect()
    }

    pub(super) fn tell(
        &mut self,
        (events, holes): (Vec<Event>, Vec<Hole>),
        updates: &mut Vec<Update>,
    ) {
        let mut holes = holes.into_iter().peekable();
        for event in events {
            if !self.told.take(event.event.session_seq) {
                continue;
            }
            while let Some(hole) = holes.next_if(|hole| hole.from < event.event.at) {
                updates.push(Update::Hole(self.session.clone(), hole));
            }
            updates.push(Update::Event(self.session.clone(), event));
        }
        updates.extend(holes.map(|hole| Update::Hole(self.session.clone(), hole)));
    }
}

/// Returns the numbers of all events that are stored.
pub(super) async fn told_before(
    transaction: &Transaction<'_>,
    found: &Found,
) -> Result<Told, Stop> {
    let mut told = Told::default();
    if found.record.stored == found.record.last_seq {
        told.up_to = found.record.last_seq;
        return Ok(told);
    }
    for event in events::after(transaction, found, 0).await?.events {
        told.take(event.event.session_seq);
    }
    Ok(told)
}
