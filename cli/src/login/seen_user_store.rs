//! Records logins in Postgres.

use vctl_common::pg::tokio_postgres::{Client, Error};

/// Records a login of the user of this connection, with this version of vctl.
pub(crate) async fn record(client: &Client, display_name: &str) -> Result<(), Error> {
    let version = env!("CARGO_PKG_VERSION");
    let statement = "select vctl.seen_v1($1, $2)";
    client
        .execute(statement, &[&display_name, &version])
        .await
        .map(drop)
}
