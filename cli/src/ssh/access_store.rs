//! The user's own rows of the access log: written, never read.

use postgres_types::Type;
use serde_json::Value;
use vctl_common::pg::PgError;
use vctl_common::pg::tokio_postgres::GenericClient;

/// Commits a row and returns its id.
pub(crate) async fn open(
    client: &impl GenericClient,
    person: &str,
    access: &Value,
) -> Result<i64, PgError> {
    let statement = "select vctl.open_access_v1($1, $2)";
    let values: [(&(dyn postgres_types::ToSql + Sync), Type); 2] =
        [(&person, Type::TEXT), (access, Type::JSONB)];
    let rows = client.query_typed(statement, &values).await?;
    Ok(rows.first().map_or(Ok(0), |row| row.try_get(0))?)
}

/// Records the end of an access.
pub(crate) async fn close(
    client: &impl GenericClient,
    person: &str,
    id: i64,
    end: &Value,
) -> Result<(), PgError> {
    let statement = "select vctl.close_access_v1($1, $2, $3)";
    let values: [(&(dyn postgres_types::ToSql + Sync), Type); 3] =
        [(&person, Type::TEXT), (&id, Type::INT8), (end, Type::JSONB)];
    client.query_typed(statement, &values).await?;
    Ok(())
}
