//! Gaps as they are stored, in the order of their arrival.

use std::time::SystemTime;

use postgres_types::{ToSql, Type};
use uuid::Uuid;
use vctl_common::pg::tokio_postgres::{Row, Transaction};

use super::arrivals::{Arrivals, transaction_id};
use super::cursor::SessionCursor;
use crate::centre::instant::Instant;
use crate::error::Stop;
use crate::session::centre::failed;
use crate::session::model::Filter;

/// Gaps that are read together.
const PAGE: i64 = 1_000;

/// A gap in the record of a host.
#[derive(Clone, Debug)]
pub(crate) struct GapRow {
    pub(crate) id: i64,
    pub(crate) host: String,
    /// The number of the host, which a rename does not change.
    pub(crate) host_id: i32,
    /// Whether a present or former name of the host is selected.
    pub(crate) is_of_host: bool,
    pub(crate) boot: Uuid,
    /// `None` if it cannot be known whose events are missing.
    pub(crate) session: Option<Uuid>,
    /// The word of a `GapCause`; the host wrote it.
    pub(crate) cause: String,
    /// `None` if the number is unknown.
    pub(crate) events: Option<i64>,
    /// `None` if the time is out of range.
    pub(crate) from: Option<SystemTime>,
    pub(crate) to: Option<SystemTime>,
    /// Checksum of the entry, unique in a boot of a host.
    pub(crate) sha256: String,
    /// The transaction with which it arrived.
    pub(crate) by: Option<u64>,
    /// The transaction that stored it; `None` for rows older than the column.
    pub(crate) stored_by: Option<u64>,
}

/// A gap that was stored before the export began.
pub(super) struct BacklogGap {
    pub(super) gap: GapRow,
    /// Its session was stored or changed after the export began, so the gap arrives with it.
    arrives: bool,
}

impl BacklogGap {
    /// Returns whether the gap is exported with the backlog, and not with the arrival of its session.
    pub(super) fn is_due(&self, cursor: &SessionCursor) -> bool {
        !self.arrives || self.gap.is_exported(cursor)
    }
}

impl GapRow {
    /// Returns whether a gap of no session matches: it may hide events of any person on its host.
    pub(crate) fn matches(&self, filter: &Filter) -> bool {
        self.is_of_host
            && filter
                .since
                .is_none_or(|since| self.to.is_none_or(|to| to >= since))
            && filter
                .until
                .is_none_or(|until| self.from.is_none_or(|from| from < until))
    }

    /// Returns whether the export had the gap before its session arrived again: with the first arrival of the session, or
    /// with the backlog ([`BacklogGap::is_due`]).
    pub(super) fn is_exported(&self, cursor: &SessionCursor) -> bool {
        let Some(id) = self.session else {
            return false;
        };
        let parts = cursor.open.get(&id).or_else(|| cursor.ended.get(id));
        let opened_by = parts.and_then(|parts| parts.opened_by);
        opened_by.is_some_and(|by| by.max(self.stored_by.unwrap_or(0)) < cursor.arrivals.oldest)
    }

    fn of(row: &Row) -> Self {
        Self {
            id: row.get(0),
            host: row.get(1),
            boot: row.get(2),
            session: row.get(3),
            cause: row.get(4),
            events: row.get(5),
            from: row.get::<_, Instant>(6).0,
            to: row.get::<_, Instant>(7).0,
            sha256: row.get(8),
            by: transaction_id(row.get(9)),
            host_id: row.get(10),
            is_of_host: row.get(11),
            stored_by: transaction_id(row.get(12)),
        }
    }
}

/// Reads a page of the gaps that were stored before `start`.
pub(crate) async fn backlog(
    transaction: &Transaction<'_>,
    start: Arrivals,
    after: i64,
    host: Option<&String>,
) -> Result<Vec<BacklogGap>, Stop> {
    let (oldest, began) = (start.oldest.to_string(), SystemTime::from(start.began));
    let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
        (&after, Type::INT8),
        (&oldest, Type::TEXT),
        (&began, Type::TIMESTAMPTZ),
        (&PAGE, Type::INT8),
        (&host, Type::TEXT),
    ];
    let rows = transaction.query_typed(include_str!("gap_backlog.sql"), &parameters);
    let gap = |row: &Row| BacklogGap {
        gap: GapRow::of(row),
        arrives: row.get(13),
    };
    Ok(rows.await.map_err(failed)?.iter().map(gap).collect())
}

/// Reads a page of the gaps that arrived since `since`, without those in `finished`.
pub(crate) async fn arrived(
    transaction: &Transaction<'_>,
    since: Arrivals,
    finished: &[i64],
    host: Option<&String>,
) -> Result<Vec<GapRow>, Stop> {
    let (oldest, began) = (since.oldest.to_string(), SystemTime::from(since.began));
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&oldest, Type::TEXT),
        (&began, Type::TIMESTAMPTZ),
        (&finished, Type::INT8_ARRAY),
        (&host, Type::TEXT),
    ];
    let rows = transaction.query_typed(include_str!("gap_arrived.sql"), &parameters);
    Ok(rows.await.map_err(failed)?.iter().map(GapRow::of).collect())
}
