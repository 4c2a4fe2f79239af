//! Records Vault's SSH CAs in the schema. The key id of a certificate is taken for a person's name only if its CA is
//! recorded there.

use vctl_common::centre::VaultSettings;
use vctl_common::pg::{Client, PgError};
use vctl_common::vault::{Vault, VaultError};

use crate::ssh_ca;

/// Result of recording.
pub(crate) enum Recorded {
    New {
        fingerprint: String,
    },
    Known,
    /// Vault has no CA.
    None,
    Unavailable(VaultError),
}

/// Asks Vault for the CAs at `mount` and at the mount beside it, and records the new ones.
pub(crate) async fn record(
    client: &Client,
    vault: &Vault,
    mount: &str,
) -> Result<Recorded, PgError> {
    let settings = VaultSettings {
        ssh_mount: mount.to_owned(),
        ..vault.settings().clone()
    };
    let authorities = match ssh_ca::each(&settings).await {
        Ok(authorities) => authorities,
        Err(error) => return Ok(Recorded::Unavailable(error)),
    };
    let mut recorded = match authorities[..] {
        [] => Recorded::None,
        _ => Recorded::Known,
    };
    for authority in authorities {
        let sql = include_str!("sql/record_ca.sql");
        let row = client
            .query_opt(sql, &[&authority.line(), &authority.mount])
            .await?;
        if let Some(row) = row {
            let fingerprint = row.get(0);
            recorded = Recorded::New { fingerprint };
        }
    }
    Ok(recorded)
}
