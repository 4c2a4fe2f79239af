//! The user's own rows of the access log: written, never read.

use postgres_types::Type;
use serde_json::Value;
use vctl_common::pg::PgError;
use vctl_common::pg::tokio_postgres::GenericClient;

/// Maximum number of characters of the command in a row.
pub(super) const COMMAND_LENGTH: usize = 4096;

/// Maximum number of characters of the error in a row.
pub(super) const ERROR_LENGTH: usize = 500;

/// Returns the text without NUL, which `jsonb` refuses, cut to so many characters as Postgres cuts it. Without this, a
/// stored access may be too large to send.
pub(super) fn cut(text: &str, most: usize) -> String {
    let text = text.replace('\0', "\u{fffd}");
    if text.chars().nth(most).is_none() {
        return text;
    }
    let kept = text.chars().take(most.saturating_sub(1));
    kept.chain(['\u{2026}']).collect()
}

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

/// Returns whether the row of an access that begins cannot be stored on this machine after this error.
pub(super) fn refuses_row(error: &PgError) -> bool {
    !error.is_away()
}

/// Like [`refuses_row`], for an access that has ended. It grants nothing any more, so it is stored also if the token ended
/// during the session: the next `vctl ssh` of this person sends it.
pub(super) fn refuses_end(error: &PgError) -> bool {
    refuses_row(error) && !matches!(error, PgError::Credential(_))
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn texts_of_a_row_are_cut_as_postgres_cuts_them() {
        assert_eq!(cut("uptime", 6), "uptime");
        assert_eq!(cut("uptimes", 6), "uptim\u{2026}");
        assert_eq!(cut("a\0b", 6), "a\u{fffd}b");
        assert_eq!(cut(&"\u{e9}".repeat(9), 8).chars().count(), 8);
    }
}
