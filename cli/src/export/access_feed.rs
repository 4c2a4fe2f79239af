//! Changes of the access log, in the order of their arrival.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use postgres_types::{ToSql, Type};
use vctl_common::pg::tokio_postgres::Transaction;

use super::arrivals::{read_arrivals, store_id, transaction_id};
use super::cursor::AccessCursor;
use super::ecs::{Record, access};
use super::feed::{Batch, Feed};
use super::sink::{ExportSink, Sink};
use crate::audit::model::{Access, AccessFilter};
use crate::audit::store::look_up_accesses;
use crate::error::Stop;
use crate::session::centre::{Store, failed, snapshot};

/// Rows that are read together.
const PAGE: i64 = 500;

/// A change of the access log.
pub(crate) struct AccessChange {
    pub(crate) id: i64,
    pub(crate) access: Access,
    /// The beginning of the access, or its end.
    pub(crate) is_end: bool,
}

/// Reads the changes of the access log.
pub(crate) struct AccessFeed {
    store: Store,
    filter: AccessFilter,
    /// The database and the position in it; `None` before the first batch of a new export.
    position: Option<(String, AccessCursor)>,
    /// Whether a new export begins with the rows that are stored already.
    with_past: bool,
    notes: Vec<String>,
}

/// A change that was found, and is not read yet.
struct Found {
    access: i64,
    is_end: bool,
}

impl AccessFeed {
    pub(crate) fn new(
        store: Store,
        filter: AccessFilter,
        position: Option<(String, AccessCursor)>,
        with_past: bool,
    ) -> Self {
        Self {
            store,
            filter,
            position,
            with_past,
            notes: Vec::new(),
        }
    }
}

impl Feed for AccessFeed {
    type Item = AccessChange;
    type Cursor = AccessCursor;
    const EXPORT: &'static str = "accesses";

    async fn next(&mut self) -> Result<Batch<AccessChange>, Stop> {
        // A new client for each batch: a connection held for hours would outlive its credential.
        let mut client = self.store.client().await?;
        let transaction = snapshot(&mut client).await?;
        let Some((_, cursor)) = &self.position else {
            let store = store_id(&transaction).await?;
            let cursor = AccessCursor {
                arrivals: read_arrivals(&transaction).await?,
                backlog: self.with_past.then_some(0),
                finished: BTreeMap::new(),
            };
            self.position = Some((store, cursor));
            return Ok(Batch::default());
        };
        let mut cursor = cursor.clone();
        let mut batch = Batch::default();
        let found = if let Some(after) = cursor.backlog {
            let (found, last) = self.backlog(&transaction, &cursor, after).await?;
            cursor.backlog = last;
            found
        } else {
            let polled = cursor
                .arrivals
                .moved_to(read_arrivals(&transaction).await?)?;
            let found = arrived(&transaction, &mut cursor).await?;
            if found.is_empty() {
                cursor.arrivals = polled;
                cursor.finished.retain(|_, by| *by >= polled.oldest);
                batch.is_last = true;
            }
            found
        };
        let (records, notes) = self.read(&transaction, &found).await?;
        transaction.commit().await.map_err(failed)?;
        batch.records = records;
        self.notes.extend(notes);
        if let Some((_, position)) = &mut self.position {
            *position = cursor;
        }
        Ok(batch)
    }

    fn position(&self) -> Option<(&str, &AccessCursor)> {
        let (store, cursor) = self.position.as_ref()?;
        Some((store, cursor))
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

impl AccessFeed {
    /// Returns a page of the changes from before the export, and its last row; `None` behind the last page.
    async fn backlog(
        &self,
        transaction: &Transaction<'_>,
        cursor: &AccessCursor,
        after: i64,
    ) -> Result<(Vec<Found>, Option<i64>), Stop> {
        let start = cursor.arrivals;
        let (oldest, began) = (start.oldest.to_string(), SystemTime::from(start.began));
        let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
            (&after, Type::INT8),
            (&oldest, Type::TEXT),
            (&began, Type::TIMESTAMPTZ),
            (&self.filter.since, Type::TIMESTAMPTZ),
            (&PAGE, Type::INT8),
        ];
        let rows = transaction.query_typed(include_str!("access_backlog.sql"), &parameters);
        let rows = rows.await.map_err(failed)?;
        let mut found = Vec::new();
        for row in &rows {
            let access: i64 = row.get(0);
            let (opened, ended): (bool, bool) = (row.get(1), row.get(2));
            for (is_end, is_there) in [(false, opened), (true, ended)] {
                found.extend(is_there.then_some(Found { access, is_end }));
            }
        }
        Ok((found, rows.last().map(|row| row.get(0))))
    }

    /// Reads the accesses of the changes that match.
    async fn read(
        &self,
        transaction: &Transaction<'_>,
        found: &[Found],
    ) -> Result<(Vec<AccessChange>, Vec<String>), Stop> {
        let (mut changes, mut notes) = (Vec::new(), Vec::new());
        if found.is_empty() {
            return Ok((changes, notes));
        }
        let ids: Vec<i64> = found.iter().map(|found| found.access).collect();
        let mut accesses = HashMap::new();
        for row in look_up_accesses(transaction, &self.filter, None, Some(&ids)).await? {
            match row {
                Ok((id, access)) => drop(accesses.insert(id, access)),
                Err(note) => notes.push(note),
            }
        }
        for Found { access: id, is_end } in found {
            changes.extend(accesses.get(id).map(|access| AccessChange {
                id: *id,
                access: access.clone(),
                is_end: *is_end,
            }));
        }
        Ok((changes, notes))
    }
}

/// Returns a page of the changes that arrived, and adds them to the finished ones.
async fn arrived(
    transaction: &Transaction<'_>,
    cursor: &mut AccessCursor,
) -> Result<Vec<Found>, Stop> {
    let start = cursor.arrivals;
    let (oldest, began) = (start.oldest.to_string(), SystemTime::from(start.began));
    let finished: Vec<i64> = cursor.finished.keys().copied().collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&oldest, Type::TEXT),
        (&began, Type::TIMESTAMPTZ),
        (&finished, Type::INT8_ARRAY),
        (&PAGE, Type::INT8),
    ];
    let rows = transaction.query_typed(include_str!("access_arrived.sql"), &parameters);
    let rows = rows.await.map_err(failed)?;
    let mut found = Vec::new();
    for row in &rows {
        let by = transaction_id(row.get(3)).unwrap_or_default();
        cursor.finished.insert(row.get(0), by);
        let is_opening: bool = row.get(2);
        found.push(Found {
            access: row.get(1),
            is_end: !is_opening,
        });
    }
    Ok(found)
}

impl Sink<AccessChange> for ExportSink {
    async fn send(&mut self, changes: &[AccessChange]) -> Result<(), Stop> {
        let record =
            |change: &AccessChange| access::record(change.id, &change.access, change.is_end);
        let records: Vec<Record> = changes.iter().map(record).collect();
        self.send(&records).await
    }
}
