//! The two database calls of a shipper.

use uuid::Uuid;
use vctl_common::id::BootId;
use vctl_common::pg::tokio_postgres::Row;
use vctl_common::pg::tokio_postgres::types::{Json, ToSql};
use vctl_common::pg::{Client, PgError};

use super::chunk::Chunk;
use super::columns::Columns;
use crate::spool::Position;

/// Identity of the shipper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) machine: Uuid,
    pub(super) spool: Uuid,
}

/// The centre's answer to a batch.
#[derive(Debug)]
pub(super) struct Answer {
    /// Position of the cursor. If it is not the batch's end, nothing of the batch was stored.
    pub(super) cursor: Position,
    /// Another machine that reports as this host.
    pub(super) other_machine: Option<String>,
}

/// Returns the centre's position in this spool; `None` when it has nothing of it.
pub(super) async fn cursor(client: &Client, spool: Uuid) -> Result<Option<Position>, PgError> {
    let statement = client
        .prepare_cached(include_str!("sql/cursor.sql"))
        .await?;
    let row = client.query_opt(&statement, &[&spool]).await?;
    row.map(|row| position(&row)).transpose()
}

/// Stores one chunk completely or not at all.
///
/// # Errors
/// After `Broken` and a timeout the chunk may still be stored; the cursor shows it.
pub(super) async fn store(
    client: &Client,
    sender: Sender,
    chunk: &Chunk,
    columns: &Columns<'_>,
) -> Result<Answer, PgError> {
    let statement = client
        .prepare_cached(include_str!("sql/ingest.sql"))
        .await?;
    let journal = &columns.journal;
    let boot = BootId::as_uuid(chunk.boot_id);
    let (from, to) = (numbers(chunk.from), numbers(chunk.to));
    let opened: Vec<_> = journal.opened.iter().map(Json).collect();
    let closed: Vec<_> = journal.closed.iter().map(Json).collect();
    let gaps: Vec<_> = journal.gaps.iter().map(Json).collect();
    let parameters: [&(dyn ToSql + Sync); 23] = [
        &sender.machine,
        &boot,
        &env!("CARGO_PKG_VERSION"),
        &sender.spool,
        &from,
        &to,
        &opened,
        &closed,
        &gaps,
        &columns.session,
        &columns.seq,
        &columns.at,
        &columns.wall,
        &columns.kind,
        &columns.pid,
        &columns.ppid,
        &columns.uid,
        &columns.status,
        &columns.exe,
        &columns.cwd,
        &columns.filename,
        &columns.argv,
        &columns.head,
    ];
    let row = client.query_one(&statement, &parameters).await?;
    Ok(Answer {
        cursor: position(&row)?,
        other_machine: row.try_get("other_machine")?,
    })
}

fn numbers(position: Position) -> Vec<i64> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    vec![
        number(position.segment),
        number(position.offset),
        i64::from(position.check),
    ]
}

fn position(row: &Row) -> Result<Position, PgError> {
    let number = |name| row.try_get::<_, i64>(name);
    Ok(Position {
        segment: number("cursor_segment")?.cast_unsigned(),
        offset: number("cursor_offset")?.cast_unsigned(),
        check: u32::try_from(number("cursor_check")?).unwrap_or(0),
    })
}
