//! The public keys of the SSH CAs, which Vault publishes without a token.

use futures_util::future::try_join_all;
use vctl_common::centre::VaultSettings;
use vctl_common::vault::{VaultError, ssh_public_key};

use super::{Authority, mounts};
use crate::error::CliError;
use crate::exit_code::Exit;

/// Returns the CA of each mount that has one; at least one. Needs no token.
///
/// # Errors
/// `Config` if no mount has one; otherwise the error of the request to Vault.
pub(crate) async fn published(settings: &VaultSettings) -> Result<Vec<Authority>, CliError> {
    let found = each(settings).await?;
    if found.is_empty() {
        let mounts = mounts(&settings.ssh_mount).join("/` or `");
        return Err(
            CliError::new(Exit::Config, format!("Vault has no SSH CA at `{mounts}/`")).hint(
                "check `VCTL_SSH_MOUNT`; an administrator of Vault creates a CA with `vault write MOUNT/config/ca generate_signing_key=true`",
            ),
        );
    }
    Ok(found)
}

/// As [`published`], but may return an empty list.
pub(crate) async fn each(settings: &VaultSettings) -> Result<Vec<Authority>, VaultError> {
    let mounts = mounts(&settings.ssh_mount);
    let asked = try_join_all(mounts.iter().map(|mount| at(settings, mount))).await?;
    Ok(asked.into_iter().flatten().collect())
}

async fn at(settings: &VaultSettings, mount: &str) -> Result<Option<Authority>, VaultError> {
    let settings = VaultSettings {
        ssh_mount: mount.to_owned(),
        ..settings.clone()
    };
    match ssh_public_key(&settings).await {
        Ok(line) => Ok(Authority::read(mount, &line)),
        // No such mount, or no key there: Vault reports that in several ways.
        Err(
            VaultError::NotFound { .. }
            | VaultError::Denied { .. }
            | VaultError::Http {
                status: 400..500, ..
            },
        ) => Ok(None),
        Err(other) => Err(other),
    }
}
