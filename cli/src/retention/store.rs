//! Queries for the stored records, and calls of the functions that delete them.

use vctl_common::pg::tokio_postgres::{Client, Error, Row};

use crate::retention::model::{Periods, Pruned, StoredDay, StoredRecords, StoredTable};

/// Returns the stored records; a session counts as never closed when it is older than its period.
pub(crate) async fn stored_records(
    client: &Client,
    periods: Periods,
) -> Result<StoredRecords, Error> {
    let days = client.query(include_str!("kept_days.sql"), &[]).await?;
    let session_days = periods.sessions.days();
    let tables = client
        .query(include_str!("kept_tables.sql"), &[&session_days])
        .await?;
    let never_closed = tables
        .first()
        .map_or(Ok(0), |row| number(row, "never_closed"));
    Ok(StoredRecords {
        days: days.iter().map(day).collect::<Result<_, _>>()?,
        tables: tables.iter().map(table).collect::<Result<_, _>>()?,
        never_closed: never_closed?,
    })
}

/// Returns the records that [`prune`] would delete.
pub(crate) async fn plan(client: &Client, periods: Periods) -> Result<Vec<Pruned>, Error> {
    call(
        client,
        "select * from vctl.prune_plan_v1($1, $2, $3)",
        periods,
    )
    .await
}

/// Deletes a part of the records that are too old. Returns an empty list when none are left.
pub(crate) async fn prune(client: &Client, periods: Periods) -> Result<Vec<Pruned>, Error> {
    call(client, "select * from vctl.prune_v1($1, $2, $3)", periods).await
}

/// Creates the partitions of the next `days` days.
pub(crate) async fn prepare(client: &Client, days: i32) -> Result<(), Error> {
    client
        .execute("select vctl.prepare_days_v1($1)", &[&days])
        .await
        .map(|_| ())
}

async fn call(client: &Client, sql: &str, periods: Periods) -> Result<Vec<Pruned>, Error> {
    let (events, sessions, accesses) = (
        periods.events.days(),
        periods.sessions.days(),
        periods.accesses.days(),
    );
    let rows = client.query(sql, &[&events, &sessions, &accesses]).await?;
    let mut pruned = Vec::with_capacity(rows.len());
    for row in &rows {
        let amount = number(row, "amount")?;
        pruned.extend(match row.try_get("what")? {
            "partition" => Some(Pruned::Partition {
                name: row.try_get("name")?,
                bytes: amount,
            }),
            "sessions" => Some(Pruned::Sessions(amount)),
            "gaps" => Some(Pruned::Gaps(amount)),
            "accesses" => Some(Pruned::Accesses(amount)),
            // A newer database may delete kinds of records that this version does not know.
            _ => None,
        });
    }
    Ok(pruned)
}

fn day(row: &Row) -> Result<StoredDay, Error> {
    Ok(StoredDay {
        date: row.try_get("day")?,
        age: row.try_get("age")?,
        bytes: number(row, "bytes")?,
        events: number(row, "events")?,
    })
}

fn table(row: &Row) -> Result<StoredTable, Error> {
    Ok(StoredTable {
        name: row.try_get("name")?,
        bytes: number(row, "bytes")?,
        live: number(row, "live")?,
        dead: number(row, "dead")?,
        oldest: row.try_get("oldest")?,
    })
}

fn number(row: &Row, name: &str) -> Result<u64, Error> {
    let number: i64 = row.try_get(name)?;
    Ok(u64::try_from(number).unwrap_or(0))
}
