//! Check: does Vault sign SSH certificates for this token?

use serde_json::json;
use vctl_common::centre::VaultSettings;
use vctl_common::vault::VaultError;

use super::CheckResult;
use super::token::Session;
use crate::centre::capabilities;
use crate::centre::capabilities::Need;
use crate::config::Loaded;
use crate::exit_code::Exit;
use crate::ssh_ca::{self, Authority};

/// The SSH CA and the role.
struct CaStatus {
    /// The fingerprint of the CA's key, or the reason why there is none.
    authority: Result<String, String>,
    role: RoleAccess,
}

/// Whether this token gets certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RoleAccess {
    Signs,
    /// The token may use the role, but the role does not exist.
    Unknown,
    /// The token has the policy for certificates, but the policy allows another role.
    NotInPolicy,
    /// The token has no policy for certificates.
    NoPolicy,
}

pub(super) async fn check(
    loaded: &Loaded,
    settings: &VaultSettings,
    session: &Session,
) -> CheckResult<()> {
    let authority = match authority(settings).await {
        Ok(authority) => authority,
        Err(error) => return CheckResult::failed(error),
    };
    let need = Need::certificate(loaded);
    match role(&need, session).await {
        Ok(role) => judge(
            &CaStatus { authority, role },
            &loaded.config.ca_role,
            settings,
        ),
        Err(error) => CheckResult::failed(error),
    }
}

/// Returns the fingerprint of the key that signs certificates (of both keys during a rotation), or the reason why there
/// is none.
pub(crate) async fn authority(
    settings: &VaultSettings,
) -> Result<Result<String, String>, VaultError> {
    let found = ssh_ca::each(settings).await?;
    let found: Vec<String> = found.iter().map(Authority::fingerprint).collect();
    Ok(if found.is_empty() {
        Err("Vault has no public key there".to_owned())
    } else {
        Ok(found.join(" or "))
    })
}

async fn role(need: &Need, session: &Session) -> Result<RoleAccess, VaultError> {
    let allowed = capabilities::ask(std::slice::from_ref(need), &session.vault).await?;
    if allowed != [true] {
        let holds = session.info.policies.contains(&need.policy);
        return Ok(if holds {
            RoleAccess::NotInPolicy
        } else {
            RoleAccess::NoPolicy
        });
    }
    // Few tokens may read a role. For an empty request, Vault first reports whether the role exists.
    match session
        .vault
        .write(&need.path, &json!({ "public_key": "" }))
        .await
    {
        Err(VaultError::NotFound { .. }) => Ok(RoleAccess::Unknown),
        Err(VaultError::Http {
            status: 400,
            message,
            ..
        }) if message.contains("nknown role") => Ok(RoleAccess::Unknown),
        Ok(_) | Err(VaultError::Http { status: 400, .. }) => Ok(RoleAccess::Signs),
        Err(other) => Err(other),
    }
}

fn judge(found: &CaStatus, role: &str, settings: &VaultSettings) -> CheckResult<()> {
    let mount = &settings.ssh_mount;
    let authority = match &found.authority {
        Ok(authority) => authority,
        Err(why) => {
            let found = format!("there is no SSH CA at `{mount}/`: {why}");
            let fix = "check `VCTL_SSH_MOUNT`; an administrator of Vault creates a CA with `vault write MOUNT/config/ca generate_signing_key=true`";
            return CheckResult::fail(Exit::Config, found, fix);
        }
    };
    match found.role {
        RoleAccess::Signs => CheckResult::pass(
            format!("{authority} signs for this token, with role `{role}`"),
            (),
        ),
        RoleAccess::Unknown => {
            let found = format!("the SSH CA has no role `{role}`");
            let fix = format!("check `VCTL_CA_ROLE`; `vault list {mount}/roles` lists the roles");
            CheckResult::fail(Exit::Config, found, fix)
        }
        RoleAccess::NotInPolicy => {
            let found = format!(
                "the policy `vctl-ssh` of this token does not allow role `{role}` of the SSH CA"
            );
            let fix = "check `VCTL_CA_ROLE`; `vault policy read vctl-ssh` shows the role that the policy allows";
            CheckResult::fail(Exit::Config, found, fix)
        }
        RoleAccess::NoPolicy => {
            let found = format!("{authority} signs, but not for this token");
            let fix = "to log in to hosts, ask for the policy `vctl-ssh`, then log in again";
            CheckResult::warn(found, fix, ())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_policy_is_a_warning_and_wrong_role_a_failure() {
        let settings = VaultSettings::new("https://vault.example");
        let judged = |role| {
            let authority = Ok("SHA256:x".to_owned());
            judge(&CaStatus { authority, role }, "sre-core", &settings)
        };
        assert!(matches!(
            judged(RoleAccess::Signs),
            CheckResult::Pass { .. }
        ));
        assert!(matches!(
            judged(RoleAccess::NoPolicy),
            CheckResult::Warn { .. }
        ));
        for role in [RoleAccess::Unknown, RoleAccess::NotInPolicy] {
            assert!(matches!(
                judged(role),
                CheckResult::Fail {
                    exit: Exit::Config,
                    ..
                }
            ));
        }
    }
}
