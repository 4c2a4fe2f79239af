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

/// Decides by the policies of Vault: asks for each path that the command needs. One of `certificates` is enough.
///
/// # Errors
/// Vault cannot be asked.
pub(crate) async fn by_policies(
    name: &str,
    context: &Context,
    loaded: &Loaded,
    certificates: &[Need],
) -> Result<LayerVerdict, VaultError> {
    let credentials = capabilities::needs_of(name, loaded, context.vault().settings());
    let needs: Vec<Need> = credentials.iter().chain(certificates).cloned().collect();
    if needs.is_empty() {
        return Ok(allowed("this command needs only a valid token"));
    }
    let held = capabilities::ask(&needs, context.vault()).await?;
    let (of_credentials, of_certificates) = held.split_at(credentials.len());
    if !certificates.is_empty() && !of_certificates.contains(&true) {
        return Ok(denied(certificates));
    }
    let missing = credentials.iter().zip(of_credentials);
    let missing = missing.filter(|(_, held)| !**held).map(|(need, _)| need);
    Ok(match missing.take(1).cloned().collect::<Vec<_>>() {
        missing if missing.is_empty() => allowed("Vault allows every path that this command needs"),
        missing => denied(&missing),
    })
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
fn denied(needs: &[Need]) -> LayerVerdict {
    let listed = |text: &dyn Fn(&Need) -> &str| {
        let texts = needs.iter().map(|need| format!("`{}`", text(need)));
        texts.collect::<Vec<String>>().join(" or ")
    };
    let capability = needs.first().map_or("", |need| need.capability);
    LayerVerdict {
        layer: "policy",
        allowed: false,
        reason: format!(
            "Vault does not allow `{capability}` on {}",
            listed(&|need| &need.path)
        ),
        fix: Some(format!(
            "the administrators of Vault can give the policy {}",
            listed(&|need| &need.policy)
        )),
        exit: Exit::Permission,
    }
}

/// Returns the capabilities for a certificate of `vctl ssh`; one of them is enough. The first is for the role of all
/// hosts, the others are for the scopes of the user's grants.
pub(crate) fn certificates_of(grants: &LookedUpGrants, loaded: &Loaded) -> Vec<Need> {
    let everywhere = Need::certificate(loaded);
    let scopes = grants.iter().flat_map(|grants| {
        let narrowed = grants.narrowed(GatedCommand::Ssh);
        narrowed.map(|one| one.grant.scope.vault_name())
    });
    let mut needs = vec![everywhere];
    for name in scopes {
        let need = Need::certificate_of(&loaded.config.ssh_mount, &name, &name);
        if !needs.contains(&need) {
            needs.push(need);
        }
    }
    needs
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
}
