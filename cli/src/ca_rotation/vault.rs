//! CAs are made and removed, and shown to sign.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use vctl_common::vault::{Vault, VaultError};

use super::Host;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ssh_ca::Authority;
use crate::ssh_ca::user_certificate::{Credential, Extensions, RoleSource, Wish};

/// Makes a CA at a mount that has none, and keeps it only where it signs for each role and user of the hosts.
pub(crate) async fn make_proven(
    vault: &Vault,
    mount: &str,
    hosts: &[Host],
) -> Result<Authority, CliError> {
    let made = make(vault, mount).await?;
    match prove(vault, mount, hosts).await {
        Ok(()) => Ok(made),
        Err(error) => {
            // No host trusts it yet, and it would stand in the way of the next attempt.
            remove(vault, mount).await?;
            Err(error)
        }
    }
}

/// Checks, without a certificate, that a CA at the mount would sign for each role and user of the hosts. What this
/// token may not read, `prove` finds out.
///
/// # Errors
/// Names each role that is missing and each user that a role does not allow.
pub(crate) async fn foresee(vault: &Vault, mount: &str, hosts: &[Host]) -> Result<(), CliError> {
    let mut causes = BTreeSet::new();
    for (role, user) in pairs(hosts) {
        let path = format!("{mount}/roles/{role}");
        match vault.read(&path).await {
            Ok(found) if !may_sign(&found, user) => {
                let hosts = hosts.iter();
                let hosts = hosts.filter(|host| host.ca_role == role && host.user == user);
                let hosts: Vec<&str> = hosts.map(|host| &*host.name).collect();
                causes.insert(format!(
                    "role `{role}` does not allow the user `{user}` of {}",
                    hosts.join(", ")
                ));
            }
            Err(VaultError::NotFound { .. }) => {
                causes.insert(format!("there is no role `{role}`"));
            }
            Ok(_) | Err(VaultError::Denied { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if causes.is_empty() {
        return Ok(());
    }
    let message = format!("an SSH CA at `{mount}/` could not take over; nothing was changed");
    let mut error = CliError::new(Exit::Config, message);
    error.causes = causes.into_iter().collect();
    Err(error.hint(format!(
        "an administrator of Vault puts the roles at `{mount}/` right: `vault read {mount}/roles/ROLE`"
    )))
}

/// Says whether a role signs for a user. One with templates depends on who asks: it is given the benefit.
fn may_sign(role: &Value, user: &str) -> bool {
    if role["allowed_users_template"].as_bool() == Some(true) {
        return true;
    }
    let allowed = role["allowed_users"].as_str().unwrap_or_default();
    let allowed = allowed.split(',').map(str::trim);
    let default = role["default_user"].as_str();
    allowed.chain(default).any(|one| one == "*" || one == user)
}

fn pairs(hosts: &[Host]) -> BTreeSet<(&str, &str)> {
    let pairs = hosts.iter().map(|host| (&*host.ca_role, &*host.user));
    pairs.collect()
}

/// Makes a CA at a mount that has none.
async fn make(vault: &Vault, mount: &str) -> Result<Authority, CliError> {
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
    for (role, user) in pairs(hosts) {
        let wish = Wish {
            mount,
            role,
            role_from: &RoleSource::Setting,
            user,
            ttl: Duration::from_mins(1),
            extensions: Extensions::default(),
            host_ahead: None,
        };
        Credential::issue(vault, &wish).await.map_err(|mut error| {
            error.causes.insert(0, error.message);
            error.message = format!("the SSH CA at `{mount}/` cannot take over");
            error.hint(format!(
                "each role of the inventory must be at `{mount}/` too and allow its users: `vault read {mount}/roles/{role}`"
            ))
        })?;
    }
    Ok(())
}

fn refused(mount: &str, what: &str, error: VaultError) -> CliError {
    let hint = match &error {
        VaultError::Denied { .. } => "ask for the policy `vctl-admin`",
        VaultError::NotFound { .. } => {
            "an administrator of Vault makes that mount: `vault secrets enable -path=MOUNT ssh`"
        }
        _ => return error.into(),
    };
    CliError::new(Exit::Permission, format!("Vault {what} at `{mount}/`"))
        .caused_by(&error)
        .hint(hint)
}
