//! `vctl rbac check`: the layers that allow or deny a command, and how each can be changed.

use vctl_common::vault::{TokenInfo, VaultError};

use super::command::{CommandClass, GatedCommand, class_of};
use super::gate::{admin_policy, ask_for_admin_policy, how_to_allow, missing};
use super::lookup::LookedUpGrants;
use super::scope::Target;
use crate::centre::capabilities::{self, Need};
use crate::centre::context::Context;
use crate::config::Loaded;
use crate::exit_code::Exit;
use crate::ui::sanitize;

/// The decision of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerVerdict {
    /// `grant` or `policy`.
    pub(crate) layer: &'static str,
    pub(crate) allowed: bool,
    pub(crate) reason: String,
    /// How a denial can be changed, if that is known.
    pub(crate) fix: Option<String>,
    /// Exit status of a denial.
    pub(crate) exit: Exit,
}

/// The decision about one command for the user of this command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) command: String,
    /// Whole display name.
    pub(crate) display_name: String,
    pub(crate) layers: Vec<LayerVerdict>,
}

impl Verdict {
    pub(crate) fn is_allowed(&self) -> bool {
        self.layers.iter().all(|layer| layer.allowed)
    }
}

/// Decides by the grants, as the gate does.
pub(crate) fn by_grants(
    name: &str,
    target: Option<&Target<'_>>,
    grants: &LookedUpGrants,
    info: &TokenInfo,
) -> LayerVerdict {
    let allowed = |reason: String| LayerVerdict {
        layer: "grant",
        allowed: true,
        reason,
        fix: None,
        exit: Exit::Success,
    };
    let denied = |reason: String, fix: Option<String>, exit: Exit| LayerVerdict {
        layer: "grant",
        allowed: false,
        reason,
        fix,
        exit,
    };
    let admin = admin_policy(info).map(|policy| format!("the policy `{policy}` needs no grant"));
    let command = match class_of(name) {
        CommandClass::Ungated => return allowed("this command needs no grant".to_owned()),
        CommandClass::Read => return allowed("this command only reads".to_owned()),
        CommandClass::Admin => {
            return match admin {
                Some(reason) => allowed(reason),
                None => denied(
                    "only a user with an admin policy may run it".to_owned(),
                    Some(ask_for_admin_policy().to_owned()),
                    Exit::Permission,
                ),
            };
        }
        CommandClass::Gated(command) => command,
    };
    if let Ok(grants) = grants
        && let Some(one) = grants.permitting(command, target)
    {
        let group = sanitize::text(&one.group);
        return allowed(format!("group `{group}` has the grant `{}`", one.grant));
    }
    match (admin, grants) {
        (Some(reason), _) => allowed(reason),
        (None, Ok(grants)) => denied(
            missing(command, target, grants),
            Some(how_to_allow(command, grants, &info.display_name)),
            Exit::Permission,
        ),
        (None, Err(error)) => denied(
            format!("the grants cannot be looked up: {}", error.one_line()),
            error.hint.clone(),
            error.exit,
        ),
    }
}

/// A certificate that a login needs, and the capabilities for it: one of them is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateNeed {
    /// Name of the jump host that it is for; `None` for the target.
    pub(crate) jump: Option<String>,
    /// Whether the login may succeed without it, by the direct route.
    pub(crate) optional: bool,
    pub(crate) needs: Vec<Need>,
}

/// Decides by the policies of Vault: asks for each path that the command needs, and for each certificate.
///
/// # Errors
/// Vault cannot be asked.
pub(crate) async fn by_policies(
    name: &str,
    context: &Context,
    loaded: &Loaded,
    certificates: &[CertificateNeed],
) -> Result<LayerVerdict, VaultError> {
    let credentials = capabilities::needs_of(name, loaded, context.vault().settings());
    let of_certificates = certificates.iter().flat_map(|one| &one.needs);
    let needs: Vec<Need> = credentials.iter().chain(of_certificates).cloned().collect();
    if needs.is_empty() {
        return Ok(allowed("this command needs only a valid token"));
    }
    let held = capabilities::ask(&needs, context.vault()).await?;
    Ok(of_answer(&credentials, certificates, &held))
}

/// Decides by the capabilities that the token has, in the order of the needs: credentials, then certificates.
fn of_answer(
    credentials: &[Need],
    certificates: &[CertificateNeed],
    held: &[bool],
) -> LayerVerdict {
    let (of_credentials, mut of_certificates) = held.split_at(credentials.len());
    let mut only_direct = None;
    for certificate in certificates {
        let (of_this, rest) = of_certificates.split_at(certificate.needs.len());
        of_certificates = rest;
        if of_this.contains(&true) {
            continue;
        }
        let refusal = refusal(&certificate.needs, certificate.jump.as_deref());
        if !certificate.optional {
            return denied(refusal, &certificate.needs);
        }
        only_direct.get_or_insert(refusal);
    }
    let missing = credentials.iter().zip(of_credentials);
    let mut missing = missing.filter(|(_, held)| !**held).map(|(need, _)| need);
    match (missing.next().map(std::slice::from_ref), only_direct) {
        (Some(need), _) => denied(refusal(need, None), need),
        (None, Some(refusal)) => allowed(&format!("only the direct route: {refusal}")),
        (None, None) => allowed("Vault allows every path that this command needs"),
    }
}

fn allowed(reason: &str) -> LayerVerdict {
    LayerVerdict {
        layer: "policy",
        allowed: true,
        reason: reason.to_owned(),
        fix: None,
        exit: Exit::Success,
    }
}

/// Returns the decision of Vault if the token has none of these capabilities, and one would be enough.
fn denied(reason: String, needs: &[Need]) -> LayerVerdict {
    LayerVerdict {
        layer: "policy",
        allowed: false,
        reason,
        fix: Some(format!(
            "the administrators of Vault can give the policy {}",
            alternatives(needs.iter().map(|need| need.policy.as_str()))
        )),
        exit: Exit::Permission,
    }
}

/// Returns which capabilities the token lacks, and for which jump host.
fn refusal(needs: &[Need], jump: Option<&str>) -> String {
    let capability = needs.first().map_or("", |need| need.capability);
    let paths = alternatives(needs.iter().map(|need| need.path.as_str()));
    let purpose = jump.map_or_else(String::new, |jump| {
        format!(" for the jump host `{}`", sanitize::text(jump))
    });
    format!("Vault does not allow `{capability}` on {paths}{purpose}")
}

fn alternatives<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(|text| format!("`{text}`")).collect();
    texts.join(" or ")
}

/// Returns the capabilities for a certificate of `vctl ssh` to some host. The first is for the role of all hosts, the
/// others are for the scopes of the user's grants.
pub(crate) fn certificate_of_any_host(
    grants: &LookedUpGrants,
    mount: &str,
    ca_role: &str,
) -> CertificateNeed {
    let mut needs = vec![Need::certificate_of(mount, ca_role, "vctl-ssh")];
    let scopes = grants.iter().flat_map(|grants| {
        let narrowed = grants.narrowed(GatedCommand::Ssh);
        narrowed.map(|one| one.grant.scope.vault_name())
    });
    for name in scopes {
        let need = Need::certificate_of(mount, &name, &name);
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    CertificateNeed {
        jump: None,
        optional: false,
        needs,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::caller::tests::grants;
    use super::*;
    use crate::error::CliError;

    fn info(policies: &[&str]) -> TokenInfo {
        TokenInfo {
            display_name: "oidc-albert".to_owned(),
            policies: policies.iter().map(|&name| name.to_owned()).collect(),
            ttl: None,
            renewable: false,
            accessor: String::new(),
            path: String::new(),
            meta: BTreeMap::new(),
            entity_id: None,
        }
    }

    /// Class of the command, policies of the user, grants of the user: the class rules.
    #[test]
    fn the_class_of_a_command_decides_who_may_run_it() {
        let none = || Ok(grants(&[("everyone", None)]));
        let ssh = || Ok(grants(&[("devs", Some("ssh"))]));
        let failed = || Err(CliError::new(Exit::Unavailable, "away"));
        let cases: [(&str, &[&str], LookedUpGrants, bool); 16] = [
            ("token", &[], none(), true),
            ("token", &[], failed(), true),
            ("list", &[], none(), true),
            ("list", &[], failed(), true),
            ("rbac", &["vctl-user", "vctl-ssh"], ssh(), false),
            ("rbac", &["vctl-admin"], none(), true),
            ("rbac", &["sre-admin"], failed(), true),
            ("ssh", &["vctl-ssh"], none(), false),
            ("ssh", &["vctl-ssh"], ssh(), true),
            ("proxy", &["vctl-ssh"], none(), false),
            ("exec", &["vctl-ssh"], ssh(), false),
            ("ssh", &["vctl-admin"], none(), true),
            ("ssh", &["root"], none(), true),
            ("ssh", &["vctl-admins"], none(), false),
            ("ssh", &["vctl-ssh"], failed(), false),
            ("ssh", &["vctl-admin"], failed(), true),
        ];
        for (name, policies, grants, allowed) in cases {
            let verdict = by_grants(name, None, &grants, &info(policies));
            assert_eq!(verdict.allowed, allowed, "{name} {policies:?}: {verdict:?}");
            let known = grants.is_ok();
            assert_eq!(
                verdict.fix.is_some(),
                !allowed && known,
                "{name} {policies:?}"
            );
            let exit = match (allowed, known) {
                (true, _) => Exit::Success,
                (false, true) => Exit::Permission,
                (false, false) => Exit::Unavailable,
            };
            assert_eq!(verdict.exit, exit, "{name} {policies:?}");
        }
    }

    #[test]
    fn each_hop_needs_one_of_its_roles() {
        let certificate = |jump: Option<&str>, optional, roles: &[&str]| CertificateNeed {
            jump: jump.map(str::to_owned),
            optional,
            needs: roles
                .iter()
                .map(|role| Need::certificate_of("ssh", role, role))
                .collect(),
        };
        let all = "Vault allows every path";
        let direct = "only the direct route: Vault does not allow";
        let jump = "on `ssh/sign/a` or `ssh/sign/b` for the jump host `bastion`";
        let target = "on `ssh/sign/c`";
        for (optional, held, allowed, reason) in [
            (false, [false, true, true], true, all),
            (false, [true, false, true], true, all),
            (false, [false, false, true], false, jump),
            (false, [true, true, false], false, target),
            (true, [false, true, true], true, all),
            (true, [false, false, true], true, direct),
            (true, [false, false, false], false, target),
        ] {
            let hops = [
                certificate(Some("bastion"), optional, &["a", "b"]),
                certificate(None, false, &["c"]),
            ];
            let verdict = of_answer(&[], &hops, &held);
            assert_eq!(verdict.allowed, allowed, "{held:?}");
            assert!(verdict.reason.contains(reason), "{verdict:?}");
        }
    }
}
