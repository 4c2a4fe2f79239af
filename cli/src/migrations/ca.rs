//! Enters the SSH CA of Vault into the schema: only of a certificate of a CA that stands there is the key
//! id a person's name.

use vctl_common::pg::{Client, PgError};
use vctl_common::vault::{Vault, VaultError};

/// What came of it.
pub(crate) enum Recorded {
    New {
        fingerprint: String,
    },
    Known,
    /// There is no CA to enter, or this token may not ask for it.
    Unavailable(VaultError),
}

/// Asks Vault for the key of the CA at `mount`, and enters it where it is not yet known.
pub(crate) async fn record(
    client: &Client,
    vault: &Vault,
    mount: &str,
) -> Result<Recorded, PgError> {
    let answer = match vault.read(&format!("{mount}/config/ca")).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Recorded::Unavailable(error)),
    };
    let key = answer["public_key"].as_str().unwrap_or_default().trim();
    let sql = include_str!("sql/record_ca.sql");
    let row = client.query_opt(sql, &[&key, &mount]).await?;
    Ok(match row {
        Some(row) => Recorded::New {
            fingerprint: row.get(0),
        },
        None => Recorded::Known,
    })
}
