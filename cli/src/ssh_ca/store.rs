//! The query for the SSH CA that signs.

use postgres_types::{ToSql, Type};
use vctl_common::pg::PgError;
use vctl_common::pg::tokio_postgres::Client;

use crate::error::Stop;

/// Returns the mount of the active CA: the configured one, or the one beside it after a rotation.
pub(crate) async fn signing_mount(client: &Client, configured: &str) -> Result<String, Stop> {
    let statement = include_str!("ca_signing_mount.sql");
    let values: [(&(dyn ToSql + Sync), Type); 1] = [(&configured, Type::TEXT)];
    let row = client.query_typed_opt(statement, &values).await;
    let row = row.map_err(PgError::from)?;
    Ok(row.map_or_else(|| configured.to_owned(), |row| row.get(0)))
}
