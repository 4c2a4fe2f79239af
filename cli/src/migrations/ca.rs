//! Records Vault's SSH CAs in the schema. The key id of a certificate is taken for a person's name only if its CA is
//! recorded there.

use vctl_common::centre::VaultSettings;
use vctl_common::pg::{Client, PgError};
use vctl_common::vault::{Vault, VaultError};

use crate::ssh_ca;

/// Result of recording.
pub(crate) enum RecordedCa {
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
) -> Result<RecordedCa, PgError> {
    let settings = VaultSettings {
        ssh_mount: mount.to_owned(),
        ..vault.settings().clone()
    };
    let authorities = match ssh_ca::each(&settings).await {
        Ok(authorities) => authorities,
        Err(error) => return Ok(RecordedCa::Unavailable(error)),
    };
    let mut recorded = match authorities[..] {
        [] => RecordedCa::None,
        _ => RecordedCa::Known,
    };
    for authority in authorities {
        let sql = include_str!("sql/record_ca.sql");
        let row = client
            .query_opt(sql, &[&authority.line(), &authority.mount])
            .await?;
        if let Some(row) = row {
            let fingerprint = row.get(0);
            recorded = RecordedCa::New { fingerprint };
        }
    }
    Ok(recorded)
}
