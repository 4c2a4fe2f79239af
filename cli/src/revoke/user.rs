//! The user in Vault's identity store: the entity, and the names of its logins.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vctl_common::person::Person;
use vctl_common::vault::{Vault, VaultError};

use crate::error::CliError;
use crate::exit_code::Exit;

/// Names of tokens that are not those of one user: registered machines, and tokens made by hand.
const SHARED: [&str; 3] = ["approle", "token", "root"];

/// A user whose access is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RevokedUser {
    /// `None`: Vault knows no such user. Records and certificates may exist all the same.
    pub(crate) entity: Option<String>,
    /// Whole display names: `oidc-albert`.
    pub(crate) names: BTreeSet<String>,
    /// Names of the user's tokens that tokens of other users may have too: `token-ci`.
    pub(crate) shared_names: BTreeSet<String>,
}

/// An alias: one login method of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Alias {
    entity: String,
    display_name: String,
}

impl RevokedUser {
    /// Adds a name that a token of the user has. A shared name is kept apart: its records may be those of other users.
    pub(crate) fn add_name(&mut self, name: &str) {
        let names = if is_shared(name) {
            &mut self.shared_names
        } else {
            &mut self.names
        };
        names.insert(name.to_owned());
    }
}

/// Returns whether tokens of several users or machines may have this name.
pub(crate) fn is_shared(name: &str) -> bool {
    SHARED.contains(&name) || name.starts_with("approle-") || name.starts_with("token-")
}

/// Finds the user with this name: `albert`, or the whole name `oidc-albert`.
///
/// # Errors
/// Vault refuses the list of aliases, or the name means several users.
pub(crate) async fn find(vault: &Vault, name: &str) -> Result<RevokedUser, CliError> {
    let listed = vault.list("identity/entity-alias/id").await;
    let aliases = match listed {
        Ok(answer) => aliases(&answer),
        Err(VaultError::NotFound { .. }) => Vec::new(),
        Err(error) => return Err(with_policy(error).into()),
    };
    chosen(&aliases, name)
}

/// Disables the user: Vault then refuses every login and every token of the user, also batch tokens.
pub(crate) async fn disable(vault: &Vault, entity: &str) -> Result<(), VaultError> {
    let path = format!("identity/entity/id/{entity}");
    let done = vault.write(&path, &json!({"disabled": true})).await;
    done.map(drop).map_err(with_policy)
}

/// Adds the policy to a denial.
pub(crate) fn with_policy(error: VaultError) -> VaultError {
    match error {
        VaultError::Denied { what, .. } => VaultError::Denied {
            what,
            policy: Some("vctl-revoke".to_owned()),
            settings: Vec::new(),
        },
        other => other,
    }
}

fn aliases(answer: &Value) -> Vec<Alias> {
    let listed = answer["key_info"].as_object();
    let listed = listed.into_iter().flat_map(|all| all.values());
    listed.filter_map(alias).collect()
}

fn alias(info: &Value) -> Option<Alias> {
    // The alias of an AppRole is a role id, and its display name is only that of the mount.
    if info["mount_type"] == "approle" {
        return None;
    }
    let mount = info["mount_path"].as_str()?;
    let mount = mount.trim_start_matches("auth/").trim_end_matches('/');
    let name = info["name"].as_str()?;
    // As Vault builds it: it drops a hyphen at the end.
    let display_name = format!("{}-{name}", mount.replace('/', "-"));
    Some(Alias {
        entity: info["canonical_id"].as_str()?.to_owned(),
        display_name: display_name.trim_end_matches('-').to_owned(),
    })
}

fn chosen(aliases: &[Alias], name: &str) -> Result<RevokedUser, CliError> {
    let mut entities: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for alias in aliases {
        let names = entities.entry(alias.entity.as_str()).or_default();
        names.insert(alias.display_name.clone());
    }
    // A whole name means one user, even if it is also the short name of another one.
    let whole = |names: &BTreeSet<String>| names.contains(name);
    let short = |names: &BTreeSet<String>| {
        names
            .iter()
            .any(|one| Person::new(one.as_str()).is_called(name))
    };
    let mut found: Vec<_> = entities.iter().filter(|(_, names)| whole(names)).collect();
    if found.is_empty() {
        found = entities.iter().filter(|(_, names)| short(names)).collect();
    }
    match found.as_slice() {
        [] => Ok(RevokedUser {
            entity: None,
            names: BTreeSet::from([name.to_owned()]),
            shared_names: BTreeSet::new(),
        }),
        [(entity, names)] => Ok(RevokedUser {
            entity: Some((**entity).to_owned()),
            names: (*names).clone(),
            shared_names: BTreeSet::new(),
        }),
        several => {
            let names = several.iter().flat_map(|(_, names)| names.iter());
            let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
            let message = format!("`{name}` is the name of several users");
            let hint = format!("use the whole name of one of them: {}", names.join(", "));
            Err(CliError::new(Exit::Usage, message).hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Value {
        json!({"key_info": {
            "1": {"canonical_id": "e1", "mount_path": "auth/oidc/", "mount_type": "oidc", "name": "albert"},
            "2": {"canonical_id": "e1", "mount_path": "auth/userpass/", "mount_type": "userpass", "name": "al"},
            "3": {"canonical_id": "e2", "mount_path": "auth/userpass/", "mount_type": "userpass", "name": "albert"},
            "4": {"canonical_id": "e3", "mount_path": "auth/approle/", "mount_type": "approle", "name": "albert"},
        }})
    }

    #[test]
    fn a_whole_name_means_one_user_with_all_names() {
        let found = chosen(&aliases(&answer()), "oidc-albert").unwrap();
        assert_eq!(found.entity.as_deref(), Some("e1"));
        let names: Vec<_> = found.names.iter().map(String::as_str).collect();
        assert_eq!(names, ["oidc-albert", "userpass-al"]);
    }

    #[test]
    fn a_short_name_of_two_users_is_refused() {
        let error = chosen(&aliases(&answer()), "albert").unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.hint.unwrap().contains("`userpass-albert`"));
        let one = chosen(&aliases(&answer()), "al").unwrap();
        assert_eq!(one.entity.as_deref(), Some("e1"));
    }

    #[test]
    fn a_shared_name_is_never_that_of_one_user() {
        let mut user = chosen(&aliases(&answer()), "al").unwrap();
        user.add_name("approle");
        user.add_name("token-ci");
        user.add_name("oidc-al");
        assert_eq!(user.names.len(), 3, "{user:?}");
        let shared: Vec<_> = user.shared_names.iter().map(String::as_str).collect();
        assert_eq!(shared, ["approle", "token-ci"]);
    }
}
