//! The calls of the database for a revocation: sessions, certificates and logins of a user, and the record.

use std::collections::BTreeSet;

use postgres_types::{Json, ToSql, Type};
use serde_json::Value;
use vctl_common::pg::tokio_postgres::Row;
use vctl_common::pg::{Client, PgError};

use super::user::RevokedUser;
use crate::session::end::store::EndableSession;

/// Returns the open sessions of a user.
pub(crate) async fn sessions(
    client: &Client,
    names: &BTreeSet<String>,
) -> Result<Vec<EndableSession>, PgError> {
    let rows = by_names(client, include_str!("sessions.sql"), names).await?;
    rows.iter().map(EndableSession::from_row).collect()
}

/// Returns the serials of the certificates that were signed for these names in the last day.
pub(crate) async fn certificates(
    client: &Client,
    names: &BTreeSet<String>,
) -> Result<BTreeSet<u64>, PgError> {
    let rows = by_names(client, include_str!("certificates.sql"), names).await?;
    let mut serials = BTreeSet::new();
    for row in rows {
        let serial: String = row.try_get("serial")?;
        serials.extend(serial.parse::<u64>());
    }
    Ok(serials)
}

/// Returns the names of all users whose access was revoked in the last day.
pub(crate) async fn revoked_names(client: &Client) -> Result<BTreeSet<String>, PgError> {
    let rows = client
        .query_typed(include_str!("revoked_names.sql"), &[])
        .await?;
    let names = rows.iter().map(|row| Ok(row.try_get("name")?));
    names.collect()
}

/// Returns the number of database logins that these names have.
pub(crate) async fn logins(client: &Client, names: &BTreeSet<String>) -> Result<i64, PgError> {
    let rows = by_names(client, include_str!("logins.sql"), names).await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get("logins")?))
}

/// Records a revocation that is about to begin, and returns its number.
pub(crate) async fn begin(
    client: &Client,
    display_name: &str,
    user: &RevokedUser,
    reason: Option<&str>,
) -> Result<i64, PgError> {
    let names: Vec<&str> = user.names.iter().map(String::as_str).collect();
    let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
        (&display_name, Type::TEXT),
        (&names, Type::TEXT_ARRAY),
        (&user.entity, Type::TEXT),
        (&reason, Type::TEXT),
    ];
    let rows = client
        .query_typed(include_str!("begin.sql"), &parameters)
        .await?;
    rows.first().map_or(Ok(0), |row| Ok(row.try_get(0)?))
}

/// Records the outcome. Returns whether the record had none before.
pub(crate) async fn finish(
    client: &Client,
    revocation: i64,
    outcome: &Value,
) -> Result<bool, PgError> {
    let outcome = Json(outcome);
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&revocation, Type::INT8), (&outcome, Type::JSONB)];
    let rows = client
        .query_typed(include_str!("finish.sql"), &parameters)
        .await?;
    rows.first().map_or(Ok(false), |row| Ok(row.try_get(0)?))
}

async fn by_names(
    client: &Client,
    sql: &str,
    names: &BTreeSet<String>,
) -> Result<Vec<Row>, PgError> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows = client
        .query_typed(sql, &[(&names, Type::TEXT_ARRAY)])
        .await?;
    Ok(rows)
}
