//! The two database calls of a shipper, and the same two for a consumer of JetStream.

use std::time::SystemTime;

use uuid::Uuid;
use vctl_common::host::HostName;
use vctl_common::id::BootId;
use vctl_common::pg::tokio_postgres::Row;
use vctl_common::pg::tokio_postgres::types::{Json, ToSql};
use vctl_common::pg::{Client, PgError};
use vctl_common::time::{BootNs, WallOffset};

use super::chunk::Chunk;
use super::columns::Columns;
use super::message::{Message, Sender};
use crate::spool::Position;

/// The centre's answer to a batch.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Position of the cursor. If it is not the batch's end, nothing of the batch was stored.
    pub(crate) cursor: Position,
    /// Another machine that reports as this host.
    pub(crate) other_machine: Option<String>,
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
    let sql = include_str!("sql/ingest.sql");
    let version = env!("CARGO_PKG_VERSION");
    call(client, sql, None, version, sender, chunk, columns).await
}

/// A cursor of a host, and the last event that is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostCursor {
    pub(crate) position: Position,
    /// Boot and clock of the last stored event, if it is known.
    pub(crate) stored_until: Option<(Uuid, BootNs)>,
}

/// Returns the centre's position in a host's spool; `None` when it has nothing of it.
pub(crate) async fn cursor_of_host(
    client: &Client,
    host: &HostName,
    spool: Uuid,
) -> Result<Option<HostCursor>, PgError> {
    let sql = include_str!("sql/stream_cursor.sql");
    let statement = client.prepare_cached(sql).await?;
    let row = client
        .query_opt(&statement, &[&host.as_str(), &spool])
        .await?;
    row.map(|row| {
        let boot: Option<Uuid> = row.try_get("boot_id")?;
        let until: Option<i64> = row.try_get("stored_until")?;
        Ok(HostCursor {
            position: position(&row)?,
            stored_until: boot.zip(until.map(|at| BootNs(at.cast_unsigned()))),
        })
    })
    .transpose()
}

/// Returns the wall time of the last stored event of a boot of the host, and the clock of that boot; `None` if there is
/// none.
pub(crate) async fn stored_at(
    client: &Client,
    host: &HostName,
    spool: Uuid,
    boot: Uuid,
) -> Result<Option<(SystemTime, WallOffset)>, PgError> {
    let sql = include_str!("sql/stream_stored_at.sql");
    let statement = client.prepare_cached(sql).await?;
    let row = client
        .query_opt(&statement, &[&host.as_str(), &spool, &boot])
        .await?;
    row.map(|row| {
        let wall = WallOffset::from_ns(row.try_get("wall")?);
        Ok((row.try_get("stored_at")?, wall))
    })
    .transpose()
}

/// Returns the names under which a host published: its present one, and former ones.
pub(crate) async fn names_of_host(
    client: &Client,
    host: &HostName,
    spool: Uuid,
) -> Result<Vec<String>, PgError> {
    let sql = include_str!("sql/stream_names.sql");
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&host.as_str(), &spool]).await?;
    rows.iter().map(|row| Ok(row.try_get("name")?)).collect()
}

/// Stores the chunk of a message for the host that the server named.
///
/// # Errors
/// As `store`.
pub(crate) async fn store_of_host(
    client: &Client,
    host: &HostName,
    message: &mut Message,
) -> Result<Answer, PgError> {
    let mut columns = Columns::of(&message.chunk, &mut message.sessions);
    if let Some((boot, gap, wall)) = &message.earlier_boot {
        columns
            .journal
            .take_gap(gap, BootId::from_uuid(*boot), *wall);
    }
    let sql = include_str!("sql/stream_ingest.sql");
    call(
        client,
        sql,
        Some(host.as_str()),
        &message.agent_version,
        message.sender,
        &message.chunk,
        &columns,
    )
    .await
}

/// Calls the function of `sql`; `host` is its first parameter, if there is one.
async fn call(
    client: &Client,
    sql: &'static str,
    host: Option<&str>,
    agent_version: &str,
    sender: Sender,
    chunk: &Chunk,
    columns: &Columns<'_>,
) -> Result<Answer, PgError> {
    let statement = client.prepare_cached(sql).await?;
    let journal = &columns.journal;
    let boot = BootId::as_uuid(chunk.boot_id);
    let (from, to) = (numbers(chunk.from), numbers(chunk.to));
    let opened: Vec<_> = journal.opened.iter().map(Json).collect();
    let closed: Vec<_> = journal.closed.iter().map(Json).collect();
    let gaps: Vec<_> = journal.gaps.iter().map(Json).collect();
    let of_all: [&(dyn ToSql + Sync); 23] = [
        &sender.machine,
        &boot,
        &agent_version,
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
    let mut parameters: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(of_all.len() + 1);
    if let Some(host) = &host {
        parameters.push(host);
    }
    parameters.extend(of_all);
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
