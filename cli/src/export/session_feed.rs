//! Sessions, their events and their gaps, in the order of their arrival.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use postgres_types::{ToSql, Type};
use uuid::Uuid;
use vctl_common::pg::tokio_postgres::{Row, Transaction};

use super::cursor::{Arrivals, Backlog, Place, SessionCursor, arrivals, number, store_id};
use super::ecs::session::SessionRecords;
use super::feed::{Batch, Feed, MOST_RECORDS};
use crate::error::Stop;
use crate::session::centre::events::EventReader;
use crate::session::centre::sessions::{SessionQuery, look_up};
use crate::session::centre::{Store, StoredSession, failed, snapshot};
use crate::session::model::Filter;

/// Sessions that are looked up together.
const MOST_SESSIONS: usize = 100;

/// Reads sessions for an export.
pub(crate) struct SessionFeed {
    store: Store,
    filter: Filter,
    /// The database and the position in it; `None` before the first batch of a new export.
    position: Option<(String, SessionCursor)>,
    /// Sessions that the last poll found, and that are not exported yet.
    pending: VecDeque<Pending>,
    /// The position of the last poll, from which the export continues once nothing is pending.
    polled: Option<Arrivals>,
    /// The counters of open sessions at their last export.
    counters: HashMap<Uuid, Counters>,
    notes: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Counters {
    stored: i64,
    gaps: i64,
}

/// A session with something to export.
#[derive(Clone)]
struct Pending {
    id: Uuid,
    source: PendingSource,
}

#[derive(Clone)]
enum PendingSource {
    Backlog(Place),
    Arrived {
        /// The transaction that stored it; `None` for rows older than the column.
        by: Option<u64>,
        counters: Counters,
    },
}

impl SessionFeed {
    pub(crate) fn new(
        store: Store,
        filter: Filter,
        position: Option<(String, SessionCursor)>,
    ) -> Self {
        Self {
            store,
            filter,
            position,
            pending: VecDeque::new(),
            polled: None,
            counters: HashMap::new(),
            notes: Vec::new(),
        }
    }
}

impl Feed for SessionFeed {
    type Cursor = SessionCursor;
    const EXPORT: &'static str = "sessions";

    async fn next(&mut self) -> Result<Batch, Stop> {
        // A new client for each batch: a connection held for hours would outlive its credential.
        let mut client = self.store.client().await?;
        let transaction = snapshot(&mut client).await?;
        let Some((_, cursor)) = &self.position else {
            let store = store_id(&transaction).await?;
            let cursor = SessionCursor::starting_at(arrivals(&transaction).await?);
            self.position = Some((store, cursor));
            return Ok(Batch::default());
        };
        // Taken out: after an error, the next poll finds these again, because the position is unchanged.
        let mut work = Work {
            cursor: cursor.clone(),
            pending: std::mem::take(&mut self.pending),
            polled: self.polled.take(),
            counters: std::mem::take(&mut self.counters),
            notes: Vec::new(),
            filter: &self.filter,
        };
        let batch = work.run(&transaction).await?;
        transaction.commit().await.map_err(failed)?;
        let Work {
            cursor,
            pending,
            polled,
            counters,
            notes,
            ..
        } = work;
        if let Some((_, position)) = &mut self.position {
            *position = cursor;
        }
        (self.pending, self.polled, self.counters) = (pending, polled, counters);
        self.notes.extend(notes);
        Ok(batch)
    }

    fn position(&self) -> Option<(&str, &SessionCursor)> {
        let (store, cursor) = self.position.as_ref()?;
        Some((store, cursor))
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// The state during one batch. It becomes the feed's state if the batch succeeds.
struct Work<'a> {
    cursor: SessionCursor,
    pending: VecDeque<Pending>,
    polled: Option<Arrivals>,
    counters: HashMap<Uuid, Counters>,
    notes: Vec<String>,
    filter: &'a Filter,
}

impl Work<'_> {
    async fn run(&mut self, transaction: &Transaction<'_>) -> Result<Batch, Stop> {
        if self.pending.is_empty() {
            match &self.cursor.backlog {
                Backlog::After(place) => {
                    self.pending = self.backlog(transaction, place.as_ref()).await?;
                    if self.pending.is_empty() {
                        self.cursor.backlog = Backlog::Exported;
                        return Ok(Batch::default());
                    }
                }
                Backlog::Exported => {
                    self.polled = Some(Arrivals {
                        began: self.cursor.arrivals.began,
                        ..arrivals(transaction).await?
                    });
                    self.pending = self.arrived(transaction).await?;
                }
            }
        }
        let mut batch = Batch::default();
        let ids: Vec<Uuid> = self
            .pending
            .iter()
            .take(MOST_SESSIONS)
            .map(|one| one.id)
            .collect();
        let mut found = self.rows(transaction, &ids).await?;
        for _ in &ids {
            let Some(pending) = self.pending.front().cloned() else {
                break;
            };
            let is_whole = match found.remove(&pending.id) {
                Some(row) => self.export(transaction, &pending, &row, &mut batch).await?,
                // It does not match, cannot be read, or was deleted after its retention period.
                None => {
                    self.finish(&pending);
                    true
                }
            };
            if is_whole {
                self.pending.pop_front();
                if let PendingSource::Backlog(place) = pending.source {
                    self.cursor.backlog = Backlog::After(Some(place));
                }
            }
            if !is_whole || batch.records.len() >= MOST_RECORDS {
                break;
            }
        }
        if self.pending.is_empty()
            && let Some(polled) = self.polled.take()
        {
            self.cursor.arrivals = polled;
            self.cursor.finished.retain(|_, by| *by >= polled.oldest);
            batch.is_last = true;
        }
        Ok(batch)
    }

    /// Exports what is new in a session. Returns whether that was all.
    async fn export(
        &mut self,
        transaction: &Transaction<'_>,
        pending: &Pending,
        row: &StoredSession,
        batch: &mut Batch,
    ) -> Result<bool, Stop> {
        let mut parts = self.cursor.open.remove(&pending.id).unwrap_or_default();
        let session = row.session();
        let records = SessionRecords::new(&session);
        if !parts.opening {
            parts.opening = true;
            batch.records.push(records.opened());
        }
        for gap in row.gaps() {
            let record = records.gap(gap);
            if parts.gaps.insert(record.id.clone()) {
                batch.records.push(record);
            }
        }
        let mut reader = EventReader::new(transaction, row, parts.events.up_to()).await?;
        while let Some(rows) = reader.next_rows().await? {
            for (seq, event) in rows {
                if parts.events.insert(seq) {
                    batch.records.push(records.event(seq, event));
                }
            }
            if batch.records.len() >= MOST_RECORDS {
                break;
            }
        }
        let is_whole = reader.is_over();
        if is_whole && session.closed.is_some() {
            batch.records.push(records.closed());
            self.finish(pending);
        } else {
            self.cursor.open.insert(pending.id, parts);
            if let PendingSource::Arrived { counters, .. } = pending.source {
                self.counters.insert(pending.id, counters);
            }
        }
        Ok(is_whole)
    }

    /// Records that a session needs no export any more.
    fn finish(&mut self, pending: &Pending) {
        self.cursor.open.remove(&pending.id);
        self.counters.remove(&pending.id);
        if let PendingSource::Arrived { by: Some(by), .. } = pending.source
            && by >= self.cursor.arrivals.oldest
        {
            self.cursor.finished.insert(pending.id, by);
        }
    }

    async fn rows(
        &mut self,
        transaction: &Transaction<'_>,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, StoredSession>, Stop> {
        let mut found = HashMap::new();
        if ids.is_empty() {
            return Ok(found);
        }
        let wanted = SessionQuery {
            ids: Some(ids.to_vec()),
            with_requests: false,
            ..SessionQuery::new(None, self.filter)
        };
        for row in look_up(transaction, &wanted).await? {
            match row {
                Ok(row) => drop(found.insert(row.id().as_uuid(), row)),
                Err(unreadable) => self.notes.push(format!("left out: {unreadable}")),
            }
        }
        Ok(found)
    }

    async fn backlog(
        &self,
        transaction: &Transaction<'_>,
        place: Option<&Place>,
    ) -> Result<VecDeque<Pending>, Stop> {
        let Filter {
            host,
            user,
            since,
            until,
        } = self.filter;
        let Arrivals { oldest, began } = self.cursor.arrivals;
        let (oldest, began) = (oldest.to_string(), SystemTime::from(began));
        let (opened_at, id) = (
            place.map(|place| &place.opened_at),
            place.map(|place| place.id),
        );
        let most = i64::try_from(MOST_SESSIONS).unwrap_or(i64::MAX);
        let parameters: [(&(dyn ToSql + Sync), Type); 9] = [
            (host, Type::TEXT),
            (user, Type::TEXT),
            (since, Type::TIMESTAMPTZ),
            (until, Type::TIMESTAMPTZ),
            (&oldest, Type::TEXT),
            (&began, Type::TIMESTAMPTZ),
            (&opened_at, Type::TEXT),
            (&id, Type::UUID),
            (&most, Type::INT8),
        ];
        let rows = transaction.query_typed(include_str!("backlog.sql"), &parameters);
        let rows = rows.await.map_err(failed)?;
        let pending = |row: &Row| Pending {
            id: row.get(0),
            source: PendingSource::Backlog(Place {
                opened_at: row.get(1),
                id: row.get(0),
            }),
        };
        Ok(rows.iter().map(pending).collect())
    }

    /// Polls for sessions that changed or arrived.
    async fn arrived(&mut self, transaction: &Transaction<'_>) -> Result<VecDeque<Pending>, Stop> {
        let open: Vec<Uuid> = self.cursor.open.keys().copied().collect();
        let Arrivals { oldest, began } = self.cursor.arrivals;
        let (oldest, began) = (oldest.to_string(), SystemTime::from(began));
        let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
            (&open, Type::UUID_ARRAY),
            (&oldest, Type::TEXT),
            (&began, Type::TIMESTAMPTZ),
        ];
        let rows = transaction.query_typed(include_str!("arrived.sql"), &parameters);
        let rows = rows.await.map_err(failed)?;
        let mut pending = VecDeque::new();
        let mut left: HashMap<Uuid, ()> = open.into_iter().map(|id| (id, ())).collect();
        for row in &rows {
            let (id, closed): (Uuid, bool) = (row.get(0), row.get(2));
            let counters = Counters {
                stored: row.get(1),
                gaps: row.get(3),
            };
            left.remove(&id);
            let is_unchanged = !closed && self.counters.get(&id) == Some(&counters);
            if is_unchanged || self.cursor.finished.contains_key(&id) {
                continue;
            }
            let by = number(row.get(4));
            let source = PendingSource::Arrived { by, counters };
            pending.push_back(Pending { id, source });
        }
        // Sessions that retention deleted: no row will ever close them.
        for id in left.into_keys() {
            self.cursor.open.remove(&id);
            self.counters.remove(&id);
        }
        Ok(pending)
    }
}
