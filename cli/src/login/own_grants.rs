//! Reads the grants of the user of a connection, whom Postgres knows by the database login.

use vctl_common::pg::tokio_postgres::{Client, Error};

/// A group of the user, and one of its grants as `COMMAND[:SCOPE]`; a group without grants has one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnGrant {
    pub(crate) group: String,
    pub(crate) grant: Option<String>,
}

/// Returns the groups of the user with their grants.
pub(crate) async fn read(client: &Client) -> Result<Vec<OwnGrant>, Error> {
    let rows = client
        .query_typed(include_str!("own_grants.sql"), &[])
        .await?;
    let grants = rows.iter().map(|row| {
        Ok(OwnGrant {
            group: row.try_get("group_name")?,
            grant: row.try_get("grant_text")?,
        })
    });
    grants.collect()
}
