//! Sessions, their events and their gaps, in the order of their arrival.

use std::collections::btree_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use uuid::Uuid;
use vctl_common::pg::tokio_postgres::Transaction;
use vctl_common::time::wall_now;

use super::arrivals::{Arrivals, read_arrivals, store_id};
use super::cursor::{Backlog, SessionCursor};
use super::ecs::Record;
use super::ecs::session::{SessionRecords, host_gap, unreadable_record};
use super::exported::ExportedEnd;
use super::feed::{Batch, Feed};
use super::gap::{self, GapRow};
use super::pending::{self, Pending, PendingSource, backlog};
use super::programs::Programs;
use crate::error::Stop;
use crate::session::centre::events::EventReader;
use crate::session::centre::sessions::{SessionQuery, look_up};
use crate::session::centre::{Store, StoredSession, Unreadable, failed, snapshot};
use crate::session::model::Filter;
use crate::session::model::program_filter::ProgramFilter;

/// Reads sessions for an export.
pub(crate) struct SessionFeed {
    store: Store,
    filter: Filter,
    programs: ProgramFilter,
    /// The database and the position in it; `None` before the first batch of a new export.
    position: Option<(String, SessionCursor)>,
    /// Sessions that the last poll found, and that are not exported yet.
    pending: VecDeque<Pending>,
    /// The position of the last poll, from which the export continues once nothing is pending.
    polled: Option<Arrivals>,
    /// Stored events of open sessions at their last export.
    counters: HashMap<Uuid, i64>,
    /// The next poll also finds the sessions that could not be read.
    retries_unreadable: bool,
    /// The last batch ended within a session.
    is_within_session: bool,
    notes: Vec<String>,
}

impl SessionFeed {
    pub(crate) fn new(
        store: Store,
        filter: Filter,
        programs: ProgramFilter,
        position: Option<(String, SessionCursor)>,
    ) -> Self {
        Self {
            store,
            filter,
            programs,
            retries_unreadable: position.is_some(),
            position,
            pending: VecDeque::new(),
            polled: None,
            counters: HashMap::new(),
            is_within_session: false,
            notes: Vec::new(),
        }
    }
}

impl Feed for SessionFeed {
    type Item = Record;
    type Cursor = SessionCursor;
    const EXPORT: &'static str = "sessions";

    async fn next(&mut self) -> Result<Batch<Record>, Stop> {
        // A new client for each batch: a connection held for hours would outlive its credential.
        let mut client = self.store.client().await?;
        let transaction = snapshot(&mut client).await?;
        let Some((_, cursor)) = &self.position else {
            let store = store_id(&transaction).await?;
            let cursor = SessionCursor::starting_at(read_arrivals(&transaction).await?);
            self.position = Some((store, cursor));
            return Ok(Batch::default());
        };
        // Taken out: after an error, the next poll finds these again, because the position is unchanged.
        let mut work = Work {
            cursor: cursor.clone(),
            pending: std::mem::take(&mut self.pending),
            polled: self.polled.take(),
            counters: std::mem::take(&mut self.counters),
            retries_unreadable: std::mem::replace(&mut self.retries_unreadable, true),
            is_within_session: std::mem::take(&mut self.is_within_session),
            notes: Vec::new(),
            filter: &self.filter,
            programs: &self.programs,
        };
        let batch = work.run(&transaction).await?;
        transaction.commit().await.map_err(failed)?;
        let Work {
            cursor,
            pending,
            polled,
            counters,
            retries_unreadable,
            is_within_session,
            notes,
            ..
        } = work;
        if let Some((_, position)) = &mut self.position {
            *position = cursor;
        }
        (self.pending, self.polled, self.counters) = (pending, polled, counters);
        self.retries_unreadable = retries_unreadable;
        self.is_within_session = is_within_session;
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
    counters: HashMap<Uuid, i64>,
    retries_unreadable: bool,
    is_within_session: bool,
    notes: Vec<String>,
    filter: &'a Filter,
    programs: &'a ProgramFilter,
}

impl Work<'_> {
    async fn run(&mut self, transaction: &Transaction<'_>) -> Result<Batch<Record>, Stop> {
        if self.pending.is_empty() {
            match &self.cursor.backlog {
                Backlog::After(place) => {
                    let start = self.cursor.arrivals;
                    self.pending = backlog(transaction, self.filter, start, place.as_ref()).await?;
                    if self.pending.is_empty() {
                        self.cursor.backlog = Backlog::GapsAfter(0);
                        return Ok(Batch::default());
                    }
                }
                Backlog::GapsAfter(id) => return self.gap_backlog(transaction, *id).await,
                Backlog::Exported => {
                    let polled = read_arrivals(transaction).await?;
                    self.polled = Some(self.cursor.arrivals.moved_to(polled)?);
                    self.pending = self.arrived(transaction).await?;
                }
            }
        }
        let mut batch = Batch::default();
        let ids: Vec<Uuid> = self
            .pending
            .iter()
            // The rest of a long session fills a batch alone.
            .take(if self.is_within_session {
                1
            } else {
                pending::PAGE
            })
            .map(|one| one.id)
            .collect();
        let mut found = self.rows(transaction, &ids).await?;
        for _ in &ids {
            let Some(pending) = self.pending.front().cloned() else {
                break;
            };
            let is_whole = match found.remove(&pending.id) {
                Some(Ok(row)) => self.export(transaction, &pending, &row, &mut batch).await?,
                Some(Err(unreadable)) => {
                    self.notes.push(format!("not exported: {unreadable}"));
                    let parts = self.cursor.open.remove(&pending.id);
                    let parts = parts.or_else(|| self.cursor.ended.remove(pending.id));
                    self.finish(&pending);
                    // Its record is sent once.
                    if let Entry::Vacant(entry) = self.cursor.unreadable.entry(pending.id) {
                        entry.insert(parts.unwrap_or_default());
                        batch.push(unreadable_record(pending.id, &unreadable));
                    }
                    true
                }
                // It does not match, or was deleted after its retention period.
                None => {
                    self.finish(&pending);
                    true
                }
            };
            self.is_within_session = !is_whole;
            if is_whole {
                self.pending.pop_front();
                if let PendingSource::Backlog(place) = pending.source {
                    self.cursor.backlog = Backlog::After(Some(place));
                }
            }
            if !is_whole || batch.is_full() {
                break;
            }
        }
        if self.pending.is_empty()
            && let Some(polled) = self.polled.take()
        {
            let host = self.filter.host.as_ref();
            let finished: Vec<i64> = self.cursor.finished_gaps.keys().copied().collect();
            let mut gaps = gap::arrived(transaction, self.cursor.arrivals, &finished, host).await?;
            let is_last = gaps.is_empty();
            let arrived = gaps.iter().filter_map(|gap| Some((gap.id, gap.by?)));
            self.cursor.finished_gaps.extend(arrived);
            gaps.retain(|gap| !gap.is_exported(&self.cursor));
            self.export_gaps(transaction, &gaps, &mut batch).await?;
            if is_last {
                self.cursor.arrivals = polled;
                self.cursor.finished.retain(|_, by| *by >= polled.oldest);
                self.cursor
                    .finished_gaps
                    .retain(|_, by| *by >= polled.oldest);
                batch.is_last = true;
            }
        }
        Ok(batch)
    }

    /// Exports a page of the gaps that were stored before the export began.
    async fn gap_backlog(
        &mut self,
        transaction: &Transaction<'_>,
        after: i64,
    ) -> Result<Batch<Record>, Stop> {
        let mut batch = Batch::default();
        let host = self.filter.host.as_ref();
        let mut found = gap::backlog(transaction, self.cursor.arrivals, after, host).await?;
        let last = found.last().map(|last| last.gap.id);
        found.retain(|one| one.is_due(&self.cursor));
        let gaps: Vec<GapRow> = found.into_iter().map(|one| one.gap).collect();
        self.export_gaps(transaction, &gaps, &mut batch).await?;
        self.cursor.backlog = last.map_or(Backlog::Exported, Backlog::GapsAfter);
        Ok(batch)
    }

    /// Adds the records of gaps that match. A gap of a session matches if its session does.
    async fn export_gaps(
        &self,
        transaction: &Transaction<'_>,
        gaps: &[GapRow],
        batch: &mut Batch<Record>,
    ) -> Result<(), Stop> {
        let ids: BTreeSet<Uuid> = gaps.iter().filter_map(|gap| gap.session).collect();
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let found = self.rows(transaction, &ids).await?;
        for gap in gaps {
            match gap.session.map(|id| found.get(&id)) {
                Some(Some(Ok(row))) => {
                    batch.push(SessionRecords::new(&row.session()).gap(gap));
                }
                // Its session has a record of its own that it cannot be read.
                Some(Some(Err(_))) => batch.push(host_gap(gap)),
                None if gap.matches(self.filter) => batch.push(host_gap(gap)),
                Some(None) | None => {}
            }
        }
        Ok(())
    }

    /// Exports what is new in a session. Returns whether that was all.
    async fn export(
        &mut self,
        transaction: &Transaction<'_>,
        pending: &Pending,
        row: &StoredSession,
        batch: &mut Batch<Record>,
    ) -> Result<bool, Stop> {
        let parts = self.cursor.open.remove(&pending.id);
        let parts = parts.or_else(|| self.cursor.unreadable.remove(&pending.id));
        let parts = parts.or_else(|| self.cursor.ended.remove(pending.id));
        let mut parts = parts.unwrap_or_default();
        // A session that became readable, and is still open, has more to export.
        self.cursor.finished.remove(&pending.id);
        let session = row.session();
        let records = SessionRecords::new(&session);
        if !parts.opening {
            parts.opening = true;
            parts.opened_by = Some(match pending.source {
                PendingSource::Backlog(_) => 0,
                PendingSource::Arrived { by, .. } => by.unwrap_or(0),
            });
            batch.push(records.opened());
        }
        for contradiction in session.identity.contradicting() {
            if parts.contradictions.insert(contradiction.word().to_owned()) {
                batch.push(records.contradicted(contradiction));
            }
        }
        let mut programs = Programs::new(self.programs);
        let mut reader = EventReader::new(transaction, row, parts.events.up_to()).await?;
        while let Some(rows) = reader.next_rows().await? {
            for row in rows {
                let sent = &mut parts.events;
                programs.push(&reader, &records, row, sent, batch).await?;
            }
            if batch.is_full() {
                break;
            }
        }
        let is_whole = reader.is_over();
        if is_whole && let Some(closed) = &session.closed {
            if let Some((end, name)) = ExportedEnd::new(closed, session.stored, parts.end) {
                parts.end = Some(end);
                batch.push(records.closed(&name));
            }
            self.finish(pending);
            let now = Timestamp::try_from(wall_now()).unwrap_or_default();
            self.cursor.ended.insert(pending.id, parts, now);
        } else {
            self.cursor.open.insert(pending.id, parts);
            if let PendingSource::Arrived { stored, .. } = pending.source {
                self.counters.insert(pending.id, stored);
            }
        }
        Ok(is_whole)
    }

    /// Records that a session needs no export until it arrives again.
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
        &self,
        transaction: &Transaction<'_>,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Result<StoredSession, Unreadable>>, Stop> {
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
            let id = match &row {
                Ok(row) => row.id(),
                Err(unreadable) => unreadable.session(),
            };
            found.insert(id.as_uuid(), row);
        }
        Ok(found)
    }

    /// Polls for sessions that changed or arrived.
    async fn arrived(&mut self, transaction: &Transaction<'_>) -> Result<VecDeque<Pending>, Stop> {
        let mut open: Vec<Uuid> = self.cursor.open.keys().copied().collect();
        let retries = std::mem::take(&mut self.retries_unreadable);
        if retries {
            open.extend(self.cursor.unreadable.keys());
        }
        let now = Timestamp::try_from(wall_now()).unwrap_or_default();
        self.cursor.ended.forget_old(now);
        let rows = pending::arrived(transaction, &open, self.cursor.arrivals).await?;
        let mut pending = VecDeque::new();
        let mut left: HashSet<Uuid> = open.into_iter().collect();
        for (id, stored, closed, by) in rows {
            left.remove(&id);
            let is_unchanged = !closed && self.counters.get(&id) == Some(&stored);
            let is_retried = retries && self.cursor.unreadable.contains_key(&id);
            let is_finished = by.is_some() && self.cursor.finished.get(&id).copied() == by;
            if is_unchanged || is_finished && !is_retried {
                continue;
            }
            let source = PendingSource::Arrived { by, stored };
            pending.push_back(Pending { id, source });
        }
        // Sessions that retention deleted: no row will ever close them.
        for id in left {
            self.cursor.open.remove(&id);
            self.cursor.unreadable.remove(&id);
            self.counters.remove(&id);
        }
        Ok(pending)
    }
}
