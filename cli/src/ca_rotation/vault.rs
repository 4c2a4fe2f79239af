//! Creating, checking and removing CAs in Vault.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use vctl_common::vault::{Vault, VaultError};

use super::RotationHost;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ssh_ca::Authority;
use crate::ssh_ca::user_certificate::{Credential, Extensions, RoleSource, UserCertificateRequest};

/// Creates a CA at a mount without one, and removes it again if it does not sign for every role and user of the hosts.
pub(crate) async fn create_checked(
    vault: &Vault,
    mount: &str,
    hosts: &[RotationHost],
) -> Result<Authority, CliError> {
    let made = make(vault, mount).await?;
    match sign_for_all(vault, mount, hosts).await {
        Ok(()) => Ok(made),
        Err(error) => {
            // No host trusts it yet, and it would block the next attempt.
            remove(vault, mount).await?;
            Err(error)
        }
    }
}

/// Checks, without signing, that a CA at the mount would sign for each role and user of the hosts. Roles that this
/// token may not read are checked later, by `prove`.
///
/// # Errors
/// Names each missing role, and each user that a role does not allow.
pub(crate) async fn check_roles(
    vault: &Vault,
    mount: &str,
    hosts: &[RotationHost],
) -> Result<(), CliError> {
    let mut causes = BTreeSet::new();
    for (role, user) in roles_and_users(hosts) {
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
                causes.insert(format!("role `{role}` does not exist"));
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
        "an administrator of Vault must correct the roles at `{mount}/`: `vault read {mount}/roles/ROLE`"
    )))
}

/// Returns whether a role signs for a user. A role with templates depends on the token, so it passes.
fn may_sign(role: &Value, user: &str) -> bool {
    if role["allowed_users_template"].as_bool() == Some(true) {
        return true;
    }
    let allowed = role["allowed_users"].as_str().unwrap_or_default();
    let allowed = allowed.split(',').map(str::trim);
    let default = role["default_user"].as_str();
    allowed.chain(default).any(|one| one == "*" || one == user)
}

fn roles_and_users(hosts: &[RotationHost]) -> BTreeSet<(&str, &str)> {
    let roles_and_users = hosts.iter().map(|host| (&*host.ca_role, &*host.user));
    roles_and_users.collect()
}

/// Creates a CA at a mount without one.
async fn make(vault: &Vault, mount: &str) -> Result<Authority, CliError> {
    let body = json!({"generate_signing_key": true, "key_type": "ed25519"});
    let answer = vault.write(&format!("{mount}/config/ca"), &body).await;
    let answer = answer.map_err(|error| refused(mount, "does not create an SSH CA", error))?;
    let line = answer["public_key"].as_str().unwrap_or_default();
    Authority::read(mount, line).ok_or_else(|| {
        let message =
            format!("Vault created an SSH CA at `{mount}/`, but did not return its public key");
        CliError::new(Exit::Failure, message)
            .hint("run the same command again: it continues with this CA")
    })
}

/// Deletes the CA at a mount. Its private key cannot be restored.
pub(crate) async fn remove(vault: &Vault, mount: &str) -> Result<(), CliError> {
    let removed = vault.delete(&format!("{mount}/config/ca")).await;
    removed.map_err(|error| refused(mount, "does not remove the SSH CA", error))
}

/// Makes the CA at a mount sign for each role and user of the hosts. A role that only the old mount has would lock
/// users out of its hosts.
pub(crate) async fn sign_for_all(
    vault: &Vault,
    mount: &str,
    hosts: &[RotationHost],
) -> Result<(), CliError> {
    for (role, user) in roles_and_users(hosts) {
        let wish = UserCertificateRequest {
            mount,
            role,
            role_from: &RoleSource::Setting,
            user,
            principal: user,
            ttl: Some(Duration::from_mins(1)),
            extensions: Extensions::default(),
            host_ahead: None,
        };
        Credential::issue(vault, &wish).await.map_err(|mut error| {
            error.causes.insert(0, error.message);
            error.message = format!("the SSH CA at `{mount}/` cannot take over");
            error.hint(format!(
                "`{mount}/` must have each role of the inventory, and the role must allow its users: `vault read {mount}/roles/{role}`"
            ))
        })?;
    }
    Ok(())
}

fn refused(mount: &str, what: &str, error: VaultError) -> CliError {
    let hint = match &error {
        VaultError::Denied { .. } => "ask for the policy `vctl-admin`",
        VaultError::NotFound { .. } => {
            "an administrator of Vault creates the mount: `vault secrets enable -path=MOUNT ssh`"
        }
        _ => return error.into(),
    };
    CliError::new(Exit::Permission, format!("Vault {what} at `{mount}/`"))
        .caused_by(&error)
        .hint(hint)
}
