//! What the policies of a token reach of what commands need, by Vault's own word.

use serde_json::{Value, json};
use vctl_common::centre::{DbRole, VaultSettings};
use vctl_common::vault::{Vault, VaultError};

use crate::config::Loaded;
use crate::doctor::Finding;
use crate::doctor::token::Session;
use crate::exit_code::Exit;

/// Something a command has to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// The commands, as in `vctl --help`.
    pub(crate) commands: &'static str,
    pub(crate) path: String,
    pub(crate) capability: &'static str,
    /// The policy of deploy/vault that gives it.
    pub(crate) policy: String,
}

impl Need {
    pub(crate) fn credential(commands: &'static str, vault: &VaultSettings, role: &DbRole) -> Self {
        Self {
            commands,
            path: format!(
                "{}/creds/{}",
                vault.database_mount,
                role.vault_role(&vault.roles)
            ),
            capability: "read",
            policy: role.policy(),
        }
    }

    pub(crate) fn certificate(loaded: &Loaded) -> Self {
        let config = &loaded.config;
        Self {
            commands: "ssh",
            path: format!("{}/sign/{}", config.ssh_mount, config.ca_role),
            capability: "update",
            policy: "vctl-ssh".to_owned(),
        }
    }
}

/// Returns what commands need; the first of it everybody does. Certificates have a probe of their own.
pub(crate) fn needs(loaded: &Loaded, vault: &VaultSettings) -> Vec<Need> {
    let host = Need {
        commands: "host",
        // The one path of it that an older setup.sh did not give.
        path: format!("auth/{}/role", loaded.config.approle_mount),
        capability: "list",
        policy: "vctl-enroll".to_owned(),
    };
    let credentials = [
        ("fleet", DbRole::Ro),
        ("login", DbRole::Identity),
        ("ssh", DbRole::AuditWriter),
        ("audit, session, retention", DbRole::AuditRo),
        ("changes of the inventory", DbRole::Rw),
        ("prune", DbRole::Pruner),
        ("migrate", DbRole::Migrator),
    ];
    let credentials = credentials.iter();
    let credentials = credentials.map(|(commands, role)| Need::credential(commands, vault, role));
    credentials.chain([host]).collect()
}

pub(crate) async fn probe(needs: &[Need], session: &Session) -> Finding<()> {
    match ask(needs, &session.vault).await {
        Ok(allowed) => judge(needs, &allowed, &session.info.policies),
        // A token made without the policy `default` may not ask. It may do the rest all the same.
        Err(VaultError::Denied { .. }) => Finding::warn(
            "Vault does not tell this token what it may do",
            "give it the policy `default`, too",
            (),
        ),
        Err(error) => Finding::failed(error),
    }
}

/// Returns which of them the token is allowed.
pub(crate) async fn ask(needs: &[Need], vault: &Vault) -> Result<Vec<bool>, VaultError> {
    let paths: Vec<&str> = needs.iter().map(|need| &*need.path).collect();
    let body = json!({ "paths": paths });
    let answer = vault.write("sys/capabilities-self", &body).await?;
    Ok(needs.iter().map(|need| is_allowed(&answer, need)).collect())
}

/// Checks that the token may have credentials of these roles, before a command changes something that it could not
/// finish.
///
/// # Errors
/// `Denied` for the first that it may not have.
pub(crate) async fn require(
    command: &'static str,
    vault: &Vault,
    roles: &[DbRole],
) -> Result<(), VaultError> {
    let settings = vault.settings();
    let needs = roles
        .iter()
        .map(|role| Need::credential(command, settings, role));
    let needs: Vec<Need> = needs.collect();
    if needs.is_empty() {
        return Ok(());
    }
    let allowed = match ask(&needs, vault).await {
        // A token without the policy `default` may not ask: what follows shows what it may.
        Err(VaultError::Denied { .. }) => return Ok(()),
        allowed => allowed?,
    };
    match roles.iter().zip(allowed).find(|(_, allowed)| !allowed) {
        None => Ok(()),
        Some((role, _)) => Err(VaultError::Denied {
            what: format!(
                "credential for database role `{}`",
                role.vault_role(&settings.roles)
            ),
            policy: Some(role.policy()),
            settings: Vec::new(),
        }),
    }
}

fn is_allowed(answer: &Value, need: &Need) -> bool {
    let held = answer[&need.path]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let has = |name| held.iter().any(|capability| capability == name);
    has("root") || has(need.capability)
}

fn judge(needs: &[Need], allowed: &[bool], policies: &[String]) -> Finding<()> {
    let missing: Vec<&Need> = needs
        .iter()
        .zip(allowed)
        .filter_map(|(need, allowed)| (!allowed).then_some(need))
        .collect();
    // A policy that a person has and that does not reach: not the person lacks something.
    let holds = |need: &&&Need| policies.contains(&need.policy);
    if let Some(need) = missing.iter().find(holds) {
        let found = format!(
            "the policy `{}` does not reach `{}`",
            need.policy, need.path
        );
        let fix = "the role may have another name in Vault: compare the settings with `vault list database/roles` \
                   and `vault policy read POLICY`";
        return Finding::fail(Exit::Config, found, fix);
    }
    if let (Some(need), Some(false)) = (needs.first(), allowed.first()) {
        let found = format!("Vault gives this token no `{}`", need.path);
        let fix = format!("ask for the policy `{}`, then log in again", need.policy);
        return Finding::fail(Exit::Permission, found, fix);
    }
    let list = |wanted: bool| -> Vec<&str> {
        let fitting = needs
            .iter()
            .zip(allowed)
            .filter(|(_, allowed)| **allowed == wanted);
        fitting.map(|(need, _)| need.commands).collect()
    };
    let mut found = format!("enough for {}", list(true).join(", "));
    if !missing.is_empty() {
        found.push_str("; not for ");
        found.push_str(&list(false).join(", "));
    }
    Finding::pass(found, ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(commands: &'static str, policy: &str) -> Need {
        Need {
            commands,
            path: format!("database/creds/{commands}"),
            capability: "read",
            policy: policy.to_owned(),
        }
    }

    fn judged(allowed: [bool; 2], policies: &[&str]) -> Finding<()> {
        let needs = [need("fleet", "vctl-user"), need("audit", "vctl-auditor")];
        let policies: Vec<String> = policies.iter().map(|&policy| policy.to_owned()).collect();
        judge(&needs, &allowed, &policies)
    }

    #[test]
    fn who_has_no_auditors_policy_is_no_auditor_and_nothing_is_wrong() {
        let Finding::Pass { found, .. } = judged([true, false], &["vctl-user"]) else {
            panic!("not well");
        };
        assert_eq!(found, "enough for fleet; not for audit");
    }

    #[test]
    fn who_lacks_everybodys_policy_has_to_ask_for_it() {
        let Finding::Fail { exit, fix, .. } = judged([false, false], &["default"]) else {
            panic!("well");
        };
        assert_eq!(exit, Exit::Permission);
        assert!(fix.unwrap().contains("`vctl-user`"));
    }

    #[test]
    fn a_policy_that_does_not_reach_is_the_settings_fault() {
        for (allowed, path) in [
            ([false, true], "creds/fleet"),
            ([true, false], "creds/audit"),
        ] {
            let finding = judged(allowed, &["vctl-user", "vctl-auditor"]);
            let Finding::Fail { exit, found, .. } = finding else {
                panic!("{finding:?}");
            };
            assert_eq!(exit, Exit::Config);
            assert!(found.contains(path), "{found}");
        }
    }
}
