//! Records of the SSH CAs that hosts trust.

use vctl_common::pg::tokio_postgres::Client;
use vctl_common::pg::{PgError, Pool};

use crate::error::Stop;
use crate::ssh_ca::host_certificate::HostCertificate;
use crate::trust_ca::Fingerprint;

/// Records that a host's sshd trusts exactly these CAs now.
pub(crate) async fn applied(
    client: &Client,
    host: &str,
    trusted: &[Fingerprint],
) -> Result<(), Stop> {
    let trusted: Vec<&str> = trusted.iter().map(Fingerprint::as_str).collect();
    let statement = include_str!("trust_applied.sql");
    let noted = client.execute(statement, &[&host, &trusted]).await;
    noted.map(drop).map_err(|error| PgError::from(error).into())
}

/// Like [`applied`], with a connection of its own. Returns why the host has no record, if Postgres failed.
pub(crate) async fn record(
    pool: &Pool,
    host: &str,
    trusted: &[Fingerprint],
) -> Result<Option<String>, Stop> {
    match pool
        .with(async |client| applied(client, host, trusted).await)
        .await
    {
        Ok(()) => Ok(None),
        Err(Stop::Error(error)) => Ok(Some(format!(
            "the host was changed, but this could not be recorded: {}",
            error.one_line()
        ))),
        Err(stop) => Err(stop),
    }
}

/// Records the certificate that was issued for a host.
pub(crate) async fn certified(
    client: &Client,
    host: &str,
    issued: &HostCertificate,
) -> Result<(), Stop> {
    let statement = include_str!("trust_certified.sql");
    let noted = client
        .execute(
            statement,
            &[
                &host,
                &issued.key_fingerprint,
                &issued.ca_fingerprint,
                &issued.serial.to_string(),
                &issued.principals,
                &issued.valid_before,
            ],
        )
        .await;
    noted.map(drop).map_err(|error| PgError::from(error).into())
}
