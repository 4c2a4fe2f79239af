//! The events of one session.

use std::time::UNIX_EPOCH;

use postgres_types::{ToSql, Type};
use vctl_common::count::{counted, form};
use vctl_common::id::{ProcessId, SessionId};
use vctl_common::pg::tokio_postgres::{Portal, Row, Transaction};
use vctl_common::session::Gap;
use vctl_common::spool::{self, Timeline};
use vctl_common::time::WallOffset;

use super::row::{StoredSession, boot_time, missing_ranges, unsigned};
use super::sessions::{SessionQuery, look_up};
use super::{Store, failed, snapshot};
use crate::centre::instant::Instant;
use crate::error::Stop;
use crate::session::model::{Event, Filter, History, Selector};

/// Rows fetched at a time: each batch is decoded before the next is fetched.
const CHUNK: i32 = 4096;
/// The same for [`EventReader`]. A row holds up to 128 KiB of arguments.
const FEW: i32 = 64;

impl Store {
    /// Reads all events of a session.
    pub(super) async fn read(&mut self, found: &StoredSession) -> Result<History, Stop> {
        let mut client = self.client().await?;
        let transaction = snapshot(&mut client).await?;
        // The row is read again, so that its counters and its events are of the same moment.
        let filter = Filter::default();
        let wanted = SessionQuery::new(Some(Selector::Id(found.id())), &filter);
        let again = look_up(&transaction, &wanted).await?.pop();
        let again = again.and_then(Result::ok);
        let found = again.as_ref().unwrap_or(found);
        let (history, gone) = read_whole(&transaction, found).await?;
        transaction.commit().await.map_err(failed)?;
        if gone > 0 {
            self.notes.push(format!(
                "{gone} of the {} of session {} {} no longer stored: deleted after their retention period",
                counted(history.session.stored, "event"),
                found.id(),
                form(gone, "is", "are")
            ));
        }
        Ok(history)
    }
}

/// Reads all events of a session. Also returns how many of its events were deleted by retention.
pub(super) async fn read_whole(
    transaction: &Transaction<'_>,
    found: &StoredSession,
) -> Result<(History, u64), Stop> {
    Ok(history(found, after(transaction, found, 0).await?))
}

/// Builds the history from the events that are left. Also returns how many were deleted by retention.
fn history(found: &StoredSession, timeline: Timeline) -> (History, u64) {
    let record = &found.record;
    let read = (timeline.events.len() + timeline.damaged.len()) as u64;
    let gone = record.stored.saturating_sub(read);
    // Completeness was judged when all events were stored: retention does not make a session incomplete.
    let completeness = if gone > 0 {
        spool::counted(record)
    } else {
        spool::completeness(record, &timeline)
    };
    let stored = read + gone;
    let history = History {
        session: found.with(missing_ranges(completeness), stored),
        events: timeline.events.into_iter().map(Event::from).collect(),
        left_out: 0,
        deleted: gone,
    };
    (history, gone)
}

/// Reads the rows of one session in parts, for readers that hold few rows at a time.
pub(crate) struct EventReader<'t> {
    transaction: &'t Transaction<'t>,
    /// `None` for a session without events.
    portal: Option<Portal>,
    found: &'t StoredSession,
    is_over: bool,
}

/// A sequence number, and its event. The error is a record that cannot be decoded.
pub(crate) type EventRow = (u64, Result<Event, Gap>);

impl<'t> EventReader<'t> {
    /// Begins with the first number above `seq`.
    pub(crate) async fn new(
        transaction: &'t Transaction<'t>,
        found: &'t StoredSession,
        seq: u64,
    ) -> Result<Self, Stop> {
        let portal = portal(transaction, found, seq).await?;
        Ok(Self {
            transaction,
            is_over: portal.is_none(),
            portal,
            found,
        })
    }

    /// Returns whether every row was read.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Reads the next rows, in the order of their numbers; `None` at the end.
    pub(crate) async fn next_rows(&mut self) -> Result<Option<Vec<EventRow>>, Stop> {
        let Some(portal) = self.portal.as_ref().filter(|_| !self.is_over) else {
            return Ok(None);
        };
        let rows = self.transaction.query_portal(portal, FEW).await;
        let rows = rows.map_err(failed)?;
        self.is_over = rows.len() < FEW.unsigned_abs() as usize;
        Ok(Some(
            rows.iter().filter_map(|row| self.event(row)).collect(),
        ))
    }

    /// Reads the last program that a process executed before the event with this number; `None` if it executed none,
    /// or if the record is missing.
    pub(crate) async fn last_exec(
        &self,
        process: ProcessId,
        before: u64,
    ) -> Result<Option<(u64, Event)>, Stop> {
        let Some(days) = &self.found.days else {
            return Ok(None);
        };
        let id = self.found.id().as_uuid();
        let before = i64::try_from(before).unwrap_or(i64::MAX);
        let pid = i64::from(process.tgid);
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&id, Type::UUID),
            (&days.first, Type::TEXT),
            (&days.last, Type::TEXT),
            (&before, Type::INT8),
            (&pid, Type::INT8),
        ];
        let rows = self
            .transaction
            .query_typed(include_str!("last_exec.sql"), &parameters);
        let rows = rows.await.map_err(failed)?;
        let event = rows.first().and_then(|row| self.event(row));
        Ok(match event {
            // Another process may have had the number before.
            Some((seq, Ok(event))) if event.event.process == process => Some((seq, event)),
            _ => None,
        })
    }

    fn event(&self, row: &Row) -> Option<EventRow> {
        let mut timeline = Timeline::default();
        take_row(&mut timeline, self.found.id(), self.found.record.wall, row);
        let event = match (timeline.events.pop(), timeline.damaged.pop()) {
            (Some(stored), _) => Ok(Event::from(stored)),
            (None, Some(gap)) => Err(gap),
            (None, None) => return None,
        };
        Some((unsigned(row.get(0)), event))
    }
}

/// Reads the events with numbers above `seq`.
pub(super) async fn after(
    transaction: &Transaction<'_>,
    found: &StoredSession,
    seq: u64,
) -> Result<Timeline, Stop> {
    let mut timeline = Timeline::default();
    let (id, wall) = (found.id(), found.record.wall);
    let Some(portal) = portal(transaction, found, seq).await? else {
        return Ok(timeline);
    };
    loop {
        let rows = transaction.query_portal(&portal, CHUNK).await;
        let rows = rows.map_err(failed)?;
        for row in &rows {
            take_row(&mut timeline, id, wall, row);
        }
        if rows.len() < CHUNK.unsigned_abs() as usize {
            timeline.put_in_order();
            return Ok(timeline);
        }
    }
}

/// Starts to read the rows with numbers above `seq`; `None` for a session without events.
async fn portal(
    transaction: &Transaction<'_>,
    found: &StoredSession,
    seq: u64,
) -> Result<Option<Portal>, Stop> {
    let Some(days) = &found.days else {
        return Ok(None);
    };
    let statement = transaction.prepare(include_str!("events.sql")).await;
    let above = i64::try_from(seq).unwrap_or(i64::MAX);
    let id = found.id().as_uuid();
    let parameters: [&(dyn ToSql + Sync); 4] = [&id, &days.first, &days.last, &above];
    let portal = transaction
        .bind(&statement.map_err(failed)?, &parameters)
        .await;
    portal.map(Some).map_err(failed)
}

fn take_row(timeline: &mut Timeline, id: SessionId, wall: WallOffset, row: &Row) {
    // This time is used only for a record that cannot be decoded; other records contain their own.
    let at = row.get::<_, Instant>(1).0.unwrap_or(UNIX_EPOCH);
    let at = boot_time(wall, at);
    let offset = WallOffset::from_ns(row.get(2));
    timeline.take_record(id, offset, at, row.get(3));
}
