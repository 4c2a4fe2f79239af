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

/// A CA, and whether it signs for this token.
struct CaStatus {
    fingerprint: String,
    mount: String,
    role: RoleAccess,
}

/// Whether this token gets certificates of a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RoleAccess {
    Signs,
    /// The token may use the role, but the role does not exist.
    Unknown,
    /// The token has the policy for certificates, but the policy allows another role.
    NotInPolicy,
    /// The token has no policy for certificates.
    NoPolicy,
    /// Vault refused the request for another reason, which is its message.
    Refused(String),
}

/// Checks the role at each mount with a CA: after a rotation the mount beside the configured one signs, and only
/// Postgres knows which one.
pub(super) async fn check(
    loaded: &Loaded,
    settings: &VaultSettings,
    session: &Session,
) -> CheckResult<()> {
    let authorities = match ssh_ca::each(settings).await {
        Ok(authorities) => authorities,
        Err(error) => return CheckResult::failed(error),
    };
    let name = &loaded.config.ca_role;
    let mut found = Vec::new();
    for authority in authorities {
        let need = Need::certificate_of(&authority.mount, name, "vctl-ssh");
        match role(&need, session).await {
            Ok(role) => found.push(CaStatus {
                fingerprint: authority.fingerprint(),
                mount: authority.mount,
                role,
            }),
            Err(error) => return CheckResult::failed(error),
        }
    }
    judge(&found, name, settings)
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
        Ok(_) => Ok(RoleAccess::Signs),
        Err(VaultError::NotFound { .. }) => Ok(RoleAccess::Unknown),
        Err(VaultError::Http {
            status: 400,
            message,
            ..
        }) => Ok(of_message(message)),
        Err(other) => Err(other),
    }
}

/// Returns what Vault's refusal of an empty public key says about the role.
fn of_message(message: String) -> RoleAccess {
    if message.contains("nknown role") {
        RoleAccess::Unknown
    } else if message.contains("public_key") {
        RoleAccess::Signs
    } else {
        RoleAccess::Refused(message)
    }
}

/// The reason why a CA does not sign for this token.
struct SigningFault {
    /// `None` if it is a warning.
    exit: Option<Exit>,
    found: String,
    fix: String,
}

fn judge(found: &[CaStatus], role: &str, settings: &VaultSettings) -> CheckResult<()> {
    let faults: Vec<SigningFault> = found.iter().filter_map(|ca| fault(ca, role)).collect();
    let signing = found.iter().filter(|ca| ca.role == RoleAccess::Signs);
    let signing: Vec<&str> = signing.map(|ca| &*ca.fingerprint).collect();
    let sign = if signing.len() == 1 { "signs" } else { "sign" };
    let signing = match signing[..] {
        [] => None,
        _ => Some(format!(
            "{} {sign} for this token, with role `{role}`",
            signing.join(" and ")
        )),
    };
    match (signing, faults.into_iter().next()) {
        (Some(signing), None) => CheckResult::pass(signing, ()),
        // During a rotation the other CA may be the one that signs now.
        (Some(signing), Some(fault)) => {
            CheckResult::warn(format!("{signing}; {}", fault.found), fault.fix, ())
        }
        (None, Some(SigningFault { exit, found, fix })) => match exit {
            Some(exit) => CheckResult::fail(exit, found, fix),
            None => CheckResult::warn(found, fix, ()),
        },
        (None, None) => {
            let mount = &settings.ssh_mount;
            let found = format!("there is no SSH CA at `{mount}/`: Vault has no public key there");
            let fix = "check `VCTL_SSH_MOUNT`; an administrator of Vault creates a CA with `vault write MOUNT/config/ca generate_signing_key=true`";
            CheckResult::fail(Exit::Config, found, fix)
        }
    }
}

fn fault(ca: &CaStatus, role: &str) -> Option<SigningFault> {
    let mount = &ca.mount;
    let (exit, found, fix) = match &ca.role {
        RoleAccess::Signs => return None,
        RoleAccess::Unknown => (
            Some(Exit::Config),
            format!("the SSH CA at `{mount}/` has no role `{role}`"),
            format!("check `VCTL_CA_ROLE`; `vault list {mount}/roles` lists the roles"),
        ),
        RoleAccess::NotInPolicy => (
            Some(Exit::Config),
            format!(
                "the policy `vctl-ssh` of this token does not allow role `{role}` of the SSH CA at `{mount}/`"
            ),
            "check `VCTL_CA_ROLE`; `vault policy read vctl-ssh` shows the role that the policy allows"
                .to_owned(),
        ),
        RoleAccess::NoPolicy => (
            None,
            format!("{} signs, but not for this token", ca.fingerprint),
            "to log in to hosts, ask for the policy `vctl-ssh`, then log in again".to_owned(),
        ),
        RoleAccess::Refused(message) => (
            Some(Exit::Failure),
            format!("the SSH CA at `{mount}/` refuses role `{role}`: {message}"),
            format!("an administrator of Vault can look with `vault read {mount}/roles/{role}`"),
        ),
    };
    Some(SigningFault { exit, found, fix })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(roles: &[RoleAccess]) -> CheckResult<()> {
        let settings = VaultSettings::new("https://vault.example");
        let mounts = ssh_ca::mounts("ssh").into_iter();
        let found = mounts.zip(roles).map(|(mount, role)| CaStatus {
            fingerprint: format!("SHA256:{mount}"),
            mount,
            role: role.clone(),
        });
        judge(&found.collect::<Vec<_>>(), "sre-core", &settings)
    }

    #[test]
    fn missing_policy_is_a_warning_and_wrong_role_a_failure() {
        assert!(matches!(
            judged(&[RoleAccess::Signs]),
            CheckResult::Pass { .. }
        ));
        assert!(matches!(
            judged(&[RoleAccess::NoPolicy]),
            CheckResult::Warn { .. }
        ));
        for role in [RoleAccess::Unknown, RoleAccess::NotInPolicy] {
            assert!(matches!(
                judged(&[role]),
                CheckResult::Fail {
                    exit: Exit::Config,
                    ..
                }
            ));
        }
        assert!(matches!(judged(&[]), CheckResult::Fail { .. }));
    }

    #[test]
    fn one_of_two_cas_that_does_not_sign_is_a_warning() {
        let both = [RoleAccess::Signs, RoleAccess::Signs];
        assert!(matches!(judged(&both), CheckResult::Pass { .. }));
        for other in [RoleAccess::Unknown, RoleAccess::NoPolicy] {
            for roles in [
                [RoleAccess::Signs, other.clone()],
                [other.clone(), RoleAccess::Signs],
            ] {
                let CheckResult::Warn { found, .. } = judged(&roles) else {
                    panic!("{roles:?}");
                };
                assert!(found.contains("signs for this token"), "{found}");
            }
        }
    }

    #[test]
    fn only_the_refusal_of_the_empty_key_means_that_a_ca_signs() {
        let of = |message: &str| of_message(message.to_owned());
        assert_eq!(of("missing public_key"), RoleAccess::Signs);
        assert_eq!(of("unknown role: sre-core"), RoleAccess::Unknown);
        assert_eq!(of("Unknown role"), RoleAccess::Unknown);
        let other = "role is not configured for certificates";
        assert_eq!(of(other), RoleAccess::Refused(other.to_owned()));
    }
}
