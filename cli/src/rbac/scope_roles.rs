//! The roles of scopes in Vault, compared with a grant or with the scope file.

use std::time::Duration;

use serde_json::{Value, json};
use vctl_common::vault::{Vault, VaultError};

use super::scope::Scope;
use super::scope_file::EnforcedScope;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ssh_ca;
use crate::ssh_ca::principal::is_for_account;

/// Fields that every role of a scope has alike, as setup.sh writes them. A field that Vault leaves out is empty.
fn fixed_fields() -> [(&'static str, Value); 12] {
    [
        ("key_type", json!("ca")),
        ("allow_user_certificates", json!(true)),
        ("allow_host_certificates", json!(false)),
        ("allow_user_key_ids", json!(false)),
        ("key_id_format", json!("{{token_display_name}}")),
        (
            "allowed_extensions",
            json!("permit-pty,permit-port-forwarding,permit-agent-forwarding"),
        ),
        ("allowed_critical_options", json!("none-allowed")),
        ("default_extensions", json!({})),
        ("default_critical_options", json!({})),
        ("default_user", json!("")),
        ("allowed_users_template", json!(false)),
        ("allow_empty_principals", json!(false)),
    ]
}

/// A field of a role that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) field: &'static str,
    pub(crate) in_vault: String,
    pub(crate) expected: String,
}

/// The roles of one scope of the file, compared with Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ComparedRole {
    /// Path of the role in Vault.
    pub(crate) path: String,
    pub(crate) state: RoleState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoleState {
    Equal,
    Missing,
    Different(Vec<Difference>),
}

/// Compares the roles of a scope at each mount with a CA.
///
/// # Errors
/// `Permission` if this token may not read roles, otherwise the error of the request to Vault.
pub(crate) async fn compare(
    vault: &Vault,
    entry: &EnforcedScope,
) -> Result<Vec<ComparedRole>, CliError> {
    let mut compared = Vec::new();
    for (path, role) in roles(vault, &entry.scope).await? {
        let state = match role {
            None => RoleState::Missing,
            Some(role) => match differences(&role, entry) {
                differences if differences.is_empty() => RoleState::Equal,
                differences => RoleState::Different(differences),
            },
        };
        compared.push(ComparedRole { path, state });
    }
    Ok(compared)
}

/// Checks that each mount with a CA has a role for the scope of a grant, as [`require_at`] does.
///
/// # Errors
/// Those of [`require_at`].
pub(crate) async fn require(vault: &Vault, scope: &Scope) -> Result<(), CliError> {
    for authority in ssh_ca::published(vault.settings()).await? {
        require_at(vault, &authority.mount, scope).await?;
    }
    Ok(())
}

/// Checks that a mount has a role for the scope of a grant, and that its certificates are valid only within the scope.
///
/// # Errors
/// `Config` with the difference; `Permission` if this token may not read roles.
pub(crate) async fn require_at(vault: &Vault, mount: &str, scope: &Scope) -> Result<(), CliError> {
    let create = "add the scope to the scope file and apply it: docs/rbac-scopes.md";
    let (path, role) = role_at(vault, mount, scope).await?;
    let Some(role) = role else {
        let message = format!("Vault has no role `{path}`, so nothing enforces `{scope}`");
        return Err(CliError::new(Exit::Config, message).hint(create));
    };
    let allowed = allowed_users(&role);
    let outside = allowed
        .iter()
        .find(|principal| !is_within(scope, principal));
    if allowed.is_empty() || outside.is_some() {
        let outside = outside.map_or_else(String::new, |principal| {
            format!(": `{}`", principal.escape_debug())
        });
        let message = format!(
            "`allowed_users` of the role `{path}` is not within the scope `{scope}`{outside}"
        );
        return Err(CliError::new(Exit::Config, message).hint(create));
    }
    if let Some(difference) = fixed_differences(&role).first() {
        let message = format!("the role `{path}` is not that of a scope: {difference}");
        return Err(CliError::new(Exit::Config, message).hint(create));
    }
    Ok(())
}

/// Returns whether a mount has a role for the scope of a grant.
pub(crate) async fn exists_at(vault: &Vault, mount: &str, scope: &Scope) -> Result<bool, CliError> {
    let (_, role) = role_at(vault, mount, scope).await?;
    Ok(role.is_some())
}

/// Returns the longest lifetime of certificates within a scope: that of its roles, which vctl requests.
pub(crate) async fn lifetime(vault: &Vault, scope: &Scope) -> Result<Duration, CliError> {
    let roles = roles(vault, scope).await?;
    let lifetimes = roles
        .iter()
        .filter_map(|(_, role)| role.as_ref()?["ttl"].as_u64());
    Ok(Duration::from_secs(lifetimes.max().unwrap_or(0)))
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            field,
            in_vault,
            expected,
        } = self;
        write!(f, "`{field}` is {in_vault} in Vault, expected {expected}")
    }
}

/// Returns whether certificates with this principal are accepted only within the scope.
fn is_within(scope: &Scope, principal: &str) -> bool {
    let user = match scope.user() {
        Some(user) => user,
        None => principal.split('@').next().unwrap_or_default(),
    };
    !user.is_empty() && is_for_account(principal, user) && principal == scope.principal(user)
}

/// Reads the role of the scope at each mount with a CA.
async fn roles(vault: &Vault, scope: &Scope) -> Result<Vec<(String, Option<Value>)>, CliError> {
    let mut roles = Vec::new();
    for authority in ssh_ca::published(vault.settings()).await? {
        roles.push(role_at(vault, &authority.mount, scope).await?);
    }
    Ok(roles)
}

/// Returns the path of the scope's role at a mount, and the role if it exists.
async fn role_at(
    vault: &Vault,
    mount: &str,
    scope: &Scope,
) -> Result<(String, Option<Value>), CliError> {
    let path = format!("{mount}/roles/{}", scope.vault_name());
    match vault.read(&path).await {
        Ok(role) => Ok((path, Some(role))),
        Err(VaultError::NotFound { .. }) => Ok((path, None)),
        Err(error @ VaultError::Denied { .. }) => {
            let message = format!("this token may not read the role `{path}`");
            Err(CliError::new(Exit::Permission, message)
                .caused_by(&error)
                .hint("ask for the policy `vctl-admin`"))
        }
        Err(error) => Err(error.into()),
    }
}

fn allowed_users(role: &Value) -> Vec<&str> {
    let allowed = role["allowed_users"].as_str().unwrap_or_default();
    let allowed = allowed.split(',').map(str::trim);
    allowed.filter(|principal| !principal.is_empty()).collect()
}

fn differences(role: &Value, entry: &EnforcedScope) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut allowed: Vec<String> = allowed_users(role).into_iter().map(str::to_owned).collect();
    let mut expected = entry.principals();
    allowed.sort();
    expected.sort();
    expected.dedup();
    if allowed != expected {
        differences.push(Difference {
            field: "allowed_users",
            in_vault: format!("`{}`", allowed.join(",").escape_debug()),
            expected: format!("`{}`", expected.join(",")),
        });
    }
    for (field, expected) in [("ttl", entry.ttl_s), ("max_ttl", entry.max_ttl_s)] {
        if role[field].as_u64() != Some(u64::from(expected)) {
            differences.push(difference(field, &role[field], &json!(expected)));
        }
    }
    differences.extend(fixed_differences(role));
    differences
}

fn fixed_differences(role: &Value) -> Vec<Difference> {
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let fields = fixed_fields().into_iter();
    let fields = fields.filter(|(field, expected)| {
        let found = &role[field];
        found != expected && !(is_empty(found) && is_empty(expected))
    });
    fields
        .map(|(field, expected)| difference(field, &role[field], &expected))
        .collect()
}

fn difference(field: &'static str, in_vault: &Value, expected: &Value) -> Difference {
    let shown = |value: &Value| match value {
        Value::Null => "not set".to_owned(),
        Value::String(text) => format!("`{}`", text.escape_debug()),
        other => other.to_string(),
    };
    Difference {
        field,
        in_vault: shown(in_vault),
        expected: shown(expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> EnforcedScope {
        EnforcedScope {
            scope: "dc=a".parse().unwrap(),
            users: vec!["ubuntu".to_owned(), "root".to_owned()],
            ttl_s: 900,
            max_ttl_s: 3600,
        }
    }

    fn role() -> Value {
        json!({
            "key_type": "ca", "allow_user_certificates": true, "allow_user_key_ids": false,
            "allowed_users": "root@dc=a, ubuntu@dc=a", "ttl": 900, "max_ttl": 3600,
            "key_id_format": "{{token_display_name}}", "allowed_critical_options": "none-allowed",
            "allowed_extensions": "permit-pty,permit-port-forwarding,permit-agent-forwarding",
            "default_extensions": null,
        })
    }

    #[test]
    fn role_of_the_file_is_equal() {
        assert_eq!(differences(&role(), &entry()), []);
    }

    #[test]
    fn each_differing_field_is_named() {
        for (field, value, said) in [
            (
                "allowed_users",
                json!("root@dc=a"),
                "`allowed_users` is `root@dc=a` in Vault, expected `root@dc=a,ubuntu@dc=a`",
            ),
            ("ttl", json!(60), "`ttl` is 60 in Vault, expected 900"),
            (
                "max_ttl",
                json!(7200),
                "`max_ttl` is 7200 in Vault, expected 3600",
            ),
            (
                "default_user",
                json!("root\n"),
                "`default_user` is `root\\n` in Vault, expected ``",
            ),
            (
                "allow_user_key_ids",
                json!(true),
                "`allow_user_key_ids` is true in Vault, expected false",
            ),
            (
                "allowed_critical_options",
                json!(""),
                "`allowed_critical_options` is `` in Vault, expected `none-allowed`",
            ),
        ] {
            let mut role = role();
            role[field] = value;
            let found = differences(&role, &entry());
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, [said]);
        }
    }

    #[test]
    fn principal_outside_the_scope_is_recognised() {
        for (scope, principal, wanted) in [
            ("dc=a", "root@dc=a", true),
            ("dc=a", "root", false),
            ("dc=a", "*", false),
            ("dc=a", "@dc=a", false),
            ("dc=a", "root@dc=b", false),
            ("dc=a", "root@dc=a+host=b", false),
            ("dc=a,user=root", "root@dc=a", true),
            ("dc=a,user=root", "ubuntu@dc=a", false),
            ("user=root", "root", true),
            ("user=root", "ubuntu", false),
        ] {
            let scope: Scope = scope.parse().unwrap();
            assert_eq!(is_within(&scope, principal), wanted, "{scope} {principal}");
        }
    }
}
