//! `vctl rbac check`: the layers that allow or deny a command, and how each can be changed.

use vctl_common::centre::{DbRole, VaultSettings};
use vctl_common::vault::{TokenInfo, VaultError};

use super::command::{CommandClass, class_of};
use super::gate::{admin_policy, ask_for_admin_policy, how_to_allow, missing};
use super::lookup::LookedUpGrants;
use super::scope::Target;
use crate::centre::capabilities::{self, Need};
use crate::centre::context::Context;
use crate::config::Loaded;
use crate::ui::sanitize;

/// The decision of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerVerdict {
    /// `grant` or `policy`.
    pub(crate) layer: &'static str,
    pub(crate) allowed: bool,
    pub(crate) reason: String,
    /// How the decision can be changed; `None` if it allows.
    pub(crate) fix: Option<String>,
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
    };
    let denied = |reason: String, fix: String| LayerVerdict {
        layer: "grant",
        allowed: false,
        reason,
        fix: Some(fix),
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
                    ask_for_admin_policy().to_owned(),
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
            how_to_allow(command, grants, &info.display_name),
        ),
        (None, Err(error)) => denied(
            format!("the grants cannot be looked up: {}", error.message),
            error.hint.clone().unwrap_or_default(),
        ),
    }
}

/// Decides by the policies of Vault: asks for each path that the command needs.
///
/// # Errors
/// Vault cannot be asked.
pub(crate) async fn by_policies(
    name: &str,
    context: &Context,
    loaded: &Loaded,
) -> Result<LayerVerdict, VaultError> {
    let needs = needs_of(name, loaded, context.vault().settings());
    let held = if needs.is_empty() {
        Vec::new()
    } else {
        capabilities::ask(&needs, context.vault()).await?
    };
    let missing: Vec<&Need> = needs
        .iter()
        .zip(held)
        .filter(|(_, held)| !held)
        .map(|(need, _)| need)
        .collect();
    Ok(match missing.first() {
        None if needs.is_empty() => LayerVerdict {
            layer: "policy",
            allowed: true,
            reason: "this command needs only a valid token".to_owned(),
            fix: None,
        },
        None => LayerVerdict {
            layer: "policy",
            allowed: true,
            reason: "Vault allows every path that this command needs".to_owned(),
            fix: None,
        },
        Some(need) => LayerVerdict {
            layer: "policy",
            allowed: false,
            reason: format!(
                "Vault does not allow `{}` on `{}`",
                need.capability, need.path
            ),
            fix: Some(format!(
                "the administrators of Vault can give the policy `{}`",
                need.policy
            )),
        },
    })
}

/// Returns the paths of Vault that a command needs.
fn needs_of(name: &str, loaded: &Loaded, vault: &VaultSettings) -> Vec<Need> {
    let roles: &[DbRole] = match name {
        // `exec` only looks up its grants there.
        "list" | "fleet" | "cache" | "exec" => &[DbRole::Ro],
        "audit" | "session" | "retention" => &[DbRole::AuditRo],
        "ssh" | "proxy" | "ssh-agent" => &[DbRole::AuditWriter],
        "sync" | "rbac" | "add" | "edit" | "delete" | "dbedit" => &[DbRole::Rw],
        "trust-ca" => &[DbRole::Ro, DbRole::Rw],
        "prune" => &[DbRole::Pruner],
        "revoke" => &[DbRole::SessionEnd],
        "migrate" => &[DbRole::Migrator],
        _ => &[],
    };
    let credentials = roles
        .iter()
        .map(|role| Need::credential("rbac", vault, role));
    let certificate =
        matches!(name, "ssh" | "proxy" | "ssh-agent").then(|| Need::certificate(loaded));
    certificate.into_iter().chain(credentials).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::caller::tests::grants;
    use super::*;
    use crate::error::CliError;
    use crate::exit_code::Exit;

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
            assert_eq!(verdict.fix.is_none(), allowed, "{name} {policies:?}");
        }
    }
}
