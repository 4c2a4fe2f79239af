//! CAs are made and removed, and shown to sign.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use vctl_common::vault::{Vault, VaultError};

use super::Host;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ssh::{Credential, Extensions, RoleSource, Wish};
use crate::ssh_ca::Authority;

/// Makes a CA at a mount that has none.
pub(crate) async fn make(vault: &Vault, mount: &str) -> Result<Authority, CliError> {
    let body = json!({"generate_signing_key": true, "key_type": "ed25519"});
    let answer = vault.write(&format!("{mount}/config/ca"), &body).await;
    let answer = answer.map_err(|error| refused(mount, "makes no SSH CA", error))?;
    let line = answer["public_key"].as_str().unwrap_or_default();
    Authority::read(mount, line).ok_or_else(|| {
        let message = format!("Vault made an SSH CA at `{mount}/`, and does not say which");
        CliError::new(Exit::Failure, message).hint("the same command again takes it as it is")
    })
}

/// Takes the CA at a mount away for ever.
pub(crate) async fn remove(vault: &Vault, mount: &str) -> Result<(), CliError> {
    let removed = vault.delete(&format!("{mount}/config/ca")).await;
    removed.map_err(|error| refused(mount, "does not remove the SSH CA", error))
}

/// Has the CA at a mount sign for each role and user of the hosts: a role that only the old mount has would
/// lock its hosts.
pub(crate) async fn prove(vault: &Vault, mount: &str, hosts: &[Host]) -> Result<(), CliError> {
    let pairs = hosts.iter().map(|host| (&*host.ca_role, &*host.user));
    for (role, user) in pairs.collect::<BTreeSet<_>>() {
        let wish = Wish {
            mount,
            role,
            role_from: &RoleSource::Setting,
            user,
            ttl: Duration::from_mins(1),
            extensions: Extensions::default(),
        };
        Credential::issue(vault, &wish).await.map_err(|mut error| {
            error.causes.insert(0, error.message);
            error.message = format!("the SSH CA at `{mount}/` cannot take over");
            error.hint(format!(
                "each role that hosts have must be at `{mount}/` too: deploy/vault/setup.sh makes `sre-core`"
            ))
        })?;
    }
    Ok(())
}

fn refused(mount: &str, what: &str, error: VaultError) -> CliError {
    let hint = match &error {
        VaultError::Denied { .. } => "ask for the policy `vctl-admin`",
        VaultError::NotFound { .. } => {
            "deploy/vault/setup.sh makes that mount; it may be run again"
        }
        _ => return error.into(),
    };
    CliError::new(Exit::Permission, format!("Vault {what} at `{mount}/`"))
        .caused_by(&error)
        .hint(hint)
}
