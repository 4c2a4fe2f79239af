//! The capabilities that commands need in Vault, and whether the token has them.

use serde_json::{Value, json};
use vctl_common::centre::{DbRole, VaultSettings};
use vctl_common::vault::{Vault, VaultError};

use crate::config::Loaded;

/// A capability that a command needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// The commands, as in `vctl --help`.
    pub(crate) commands: &'static str,
    pub(crate) path: String,
    pub(crate) capability: &'static str,
    /// The policy in deploy/vault that grants it.
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

    /// Returns the capability for certificates of the configured role.
    pub(crate) fn certificate(loaded: &Loaded) -> Self {
        let config = &loaded.config;
        Self::certificate_of(&config.ssh_mount, &config.ca_role, "vctl-ssh")
    }

    pub(crate) fn certificate_of(mount: &str, role: &str, policy: &str) -> Self {
        Self {
            commands: "ssh",
            path: format!("{mount}/sign/{role}"),
            capability: "update",
            policy: policy.to_owned(),
        }
    }
}

/// Returns the needs of the commands; the first one is needed by every user. Certificates have their own check.
pub(crate) fn needs(loaded: &Loaded, vault: &VaultSettings) -> Vec<Need> {
    let host = Need {
        commands: "host",
        // The only path of it that an older setup.sh did not grant.
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

/// Returns, for each need, whether the token has it.
pub(crate) async fn ask(needs: &[Need], vault: &Vault) -> Result<Vec<bool>, VaultError> {
    let paths: Vec<&str> = needs.iter().map(|need| &*need.path).collect();
    let body = json!({ "paths": paths });
    let answer = vault.write("sys/capabilities-self", &body).await?;
    Ok(needs.iter().map(|need| is_allowed(&answer, need)).collect())
}

/// Checks that the token may get credentials of these roles, before a command starts a change that it could not
/// finish.
///
/// # Errors
/// `Denied` for the first role without permission.
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
        // A token without the policy `default` may not ask; the command will show whether it may get credentials.
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
