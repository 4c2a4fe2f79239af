//! Sessions with something to export.

use std::collections::VecDeque;
use std::time::SystemTime;

use postgres_types::{ToSql, Type};
use uuid::Uuid;
use vctl_common::pg::tokio_postgres::{Row, Transaction};

use super::arrivals::{Arrivals, transaction_id};
use super::cursor::BacklogPlace;
use crate::error::Stop;
use crate::session::centre::failed;
use crate::session::model::Filter;

/// Sessions that are looked up together.
pub(super) const PAGE: usize = 100;

/// A session with something to export.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) id: Uuid,
    pub(super) source: PendingSource,
}

/// The query that found a session.
#[derive(Clone)]
pub(super) enum PendingSource {
    Backlog(BacklogPlace),
    Arrived {
        /// The transaction that stored it; `None` for rows older than the column.
        by: Option<u64>,
        /// Number of its events in the store.
        stored: i64,
    },
}

/// Reads a page of the sessions that match and were stored before `start`, oldest first.
pub(super) async fn backlog(
    transaction: &Transaction<'_>,
    filter: &Filter,
    start: Arrivals,
    after: Option<&BacklogPlace>,
) -> Result<VecDeque<Pending>, Stop> {
    let Filter {
        host,
        user,
        since,
        until,
    } = filter;
    let (oldest, began) = (start.oldest.to_string(), SystemTime::from(start.began));
    let (opened_at, id) = (
        after.map(|place| &place.opened_at),
        after.map(|place| place.id),
    );
    let most = i64::try_from(PAGE).unwrap_or(i64::MAX);
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
        source: PendingSource::Backlog(BacklogPlace {
            opened_at: row.get(1),
            id: row.get(0),
        }),
    };
    Ok(rows.iter().map(pending).collect())
}

/// A session that arrived, or has parts that are not exported: its id, the number of its stored events, whether it has
/// ended, and the transaction with which it arrived.
pub(super) type ArrivedRow = (Uuid, i64, bool, Option<u64>);

/// Reads the sessions in `open`, and those that arrived since `since`.
pub(super) async fn arrived(
    transaction: &Transaction<'_>,
    open: &[Uuid],
    since: Arrivals,
) -> Result<Vec<ArrivedRow>, Stop> {
    let (oldest, began) = (since.oldest.to_string(), SystemTime::from(since.began));
    let parameters: [(&(dyn ToSql + Sync), Type); 3] = [
        (&open, Type::UUID_ARRAY),
        (&oldest, Type::TEXT),
        (&began, Type::TIMESTAMPTZ),
    ];
    let rows = transaction.query_typed(include_str!("arrived.sql"), &parameters);
    let rows = rows.await.map_err(failed)?;
    let arrived = |row: &Row| {
        (
            row.get(0),
            row.get(1),
            row.get(2),
            transaction_id(row.get(3)),
        )
    };
    Ok(rows.iter().map(arrived).collect())
}
