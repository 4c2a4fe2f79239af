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

    pub(crate) fn certificate_of(mount: &str, role: &str, policy: &str) -> Self {
        Self {
            commands: "ssh",
            path: format!("{mount}/sign/{role}"),
            capability: "update",
            policy: policy.to_owned(),
        }
    }
}

/// A database login, and the commands that need it.
struct DatabaseLogin {
    /// The commands in few words, for `vctl doctor`.
    label: &'static str,
    role: DbRole,
    /// Commands, or a command with its subcommand.
    commands: &'static [&'static str],
}

/// The database logins of commands; the first one is needed by every user. `exec` only looks up its grants with it.
const LOGINS: [DatabaseLogin; 9] = [
    DatabaseLogin {
        label: "fleet",
        role: DbRole::Ro,
        commands: &[
            "list",
            "status",
            "fleet",
            "cache",
            "exec",
            "ssh-config",
            "trust-ca",
            "host",
            "host enroll",
            "host rename",
            "host revoke",
            "ca",
            "rbac check",
            "rbac group list",
            "rbac group show",
            "rbac log",
            "rbac scopes",
            "rbac users",
            "rbac whoami",
        ],
    },
    DatabaseLogin {
        label: "login",
        role: DbRole::Identity,
        commands: &["login"],
    },
    DatabaseLogin {
        label: "ssh",
        role: DbRole::AuditWriter,
        commands: &["ssh", "proxy", "ssh-agent"],
    },
    DatabaseLogin {
        label: "audit, session, retention",
        role: DbRole::AuditRo,
        commands: &["audit", "session", "retention"],
    },
    DatabaseLogin {
        label: "changes of the inventory",
        role: DbRole::Rw,
        commands: &[
            "add",
            "edit",
            "delete",
            "dbedit",
            "sync",
            "trust-ca",
            "rbac",
            "ca",
            "host enroll",
            "host rename",
            "host revoke",
        ],
    },
    DatabaseLogin {
        label: "prune",
        role: DbRole::Pruner,
        commands: &["prune"],
    },
    DatabaseLogin {
        label: "session end",
        role: DbRole::SessionEnd,
        commands: &["session end"],
    },
    DatabaseLogin {
        label: "revoke",
        role: DbRole::Revoke,
        commands: &["revoke"],
    },
    DatabaseLogin {
        label: "migrate",
        role: DbRole::Migrator,
        commands: &["migrate"],
    },
];

/// Commands that list or change AppRoles.
const APPROLE_COMMANDS: [&str; 4] = ["host", "host enroll", "host rename", "host revoke"];

/// Commands that need a valid token at most. Each tool of `mcp` needs the rights of its command.
const ONLY_A_TOKEN: [&str; 16] = [
    "agent",
    "ca install",
    "ca remove",
    "ca ssh-print",
    "completions",
    "config",
    "doctor",
    "help",
    "known-hosts",
    "logout",
    "man",
    "mcp",
    "node-agent",
    "token",
    "version",
    "whoami",
];

fn approles(loaded: &Loaded) -> Need {
    Need {
        commands: "host",
        // The only path of it that an older setup.sh did not grant.
        path: format!("auth/{}/role", loaded.config.approle_mount),
        capability: "list",
        policy: "vctl-enroll".to_owned(),
    }
}

/// Returns the needs of all commands; the first one is needed by every user. Certificates have their own check.
pub(crate) fn needs(loaded: &Loaded, vault: &VaultSettings) -> Vec<Need> {
    let logins = LOGINS.iter();
    let logins = logins.map(|login| Need::credential(login.label, vault, &login.role));
    logins.chain([approles(loaded)]).collect()
}

/// Returns the needs of one command, as `session` or `rbac group list`. Certificates have their own check.
pub(crate) fn needs_of(name: &str, loaded: &Loaded, vault: &VaultSettings) -> Vec<Need> {
    let name = listed(name).unwrap_or(name);
    let logins = LOGINS
        .iter()
        .filter(|login| login.commands.contains(&name))
        .map(|login| Need::credential(login.label, vault, &login.role));
    let approles = APPROLE_COMMANDS.contains(&name).then(|| approles(loaded));
    logins.chain(approles).collect()
}

/// Returns the name under which a command is in the tables: its own, or that of a command above it.
fn listed(name: &str) -> Option<&str> {
    let is_listed = |name: &&str| {
        let in_logins = LOGINS.iter().any(|login| login.commands.contains(name));
        in_logins || ONLY_A_TOKEN.contains(name)
    };
    std::iter::successors(Some(name), |name| Some(name.rsplit_once(' ')?.0)).find(is_listed)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Command;

    use super::*;
    use crate::args;

    fn add_names(command: &Command, name: String, names: &mut BTreeSet<String>) {
        for below in command.get_subcommands() {
            add_names(below, format!("{name} {}", below.get_name()), names);
        }
        names.insert(name);
    }

    #[test]
    fn each_command_has_its_needs_in_one_table() {
        let root = args::command();
        let mut names = BTreeSet::new();
        for command in root.get_subcommands() {
            let name = command.get_name();
            assert!(listed(name).is_some(), "`{name}` is in no table");
            add_names(command, name.to_owned(), &mut names);
        }
        let of_logins = LOGINS.iter().flat_map(|login| login.commands);
        for name in of_logins.chain(&APPROLE_COMMANDS).chain(&ONLY_A_TOKEN) {
            assert!(names.contains(*name), "vctl has no command `{name}`");
            let needs = LOGINS.iter().any(|login| login.commands.contains(name));
            assert_ne!(needs, ONLY_A_TOKEN.contains(name), "{name}");
        }
    }

    #[test]
    fn revoking_needs_its_own_credential() {
        let logins = LOGINS
            .iter()
            .filter(|login| login.commands.contains(&"revoke"));
        let roles: Vec<&DbRole> = logins.map(|login| &login.role).collect();
        assert!(matches!(roles[..], [DbRole::Revoke]));
    }

    #[test]
    fn a_subcommand_has_its_own_needs_or_those_above_it() {
        for (name, wanted) in [
            ("session end", Some("session end")),
            ("session search", Some("session")),
            ("ca ssh-print", Some("ca ssh-print")),
            ("ca ssh-rotate", Some("ca")),
            ("rbac group list", Some("rbac group list")),
            ("rbac group create", Some("rbac")),
            ("frobnicate", None),
        ] {
            assert_eq!(listed(name), wanted);
        }
    }
}
