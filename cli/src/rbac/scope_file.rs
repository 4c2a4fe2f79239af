//! The scope file: the scopes that Vault enforces. `deploy/vault/setup.sh` and Terraform create a role for each.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::scope::Scope;
use crate::error::CliError;
use crate::exit_code::Exit;

/// Lifetimes of certificates if the file has none, in seconds.
const TTL_S: u32 = 1800;
const MAX_TTL_S: u32 = 7200;

/// Highest lifetime that the file may have, as in read-scopes.sql. The list of `vctl revoke --krl` has the certificates
/// of a day.
const HIGHEST_S: u32 = 86_400;

/// A scope of the file, with the limits of its certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EnforcedScope {
    pub(crate) scope: Scope,
    /// Accounts that certificates may name.
    pub(crate) users: Vec<String>,
    pub(crate) ttl_s: u32,
    pub(crate) max_ttl_s: u32,
}

impl EnforcedScope {
    /// Returns the principals that the role of the scope may sign.
    pub(crate) fn principals(&self) -> Vec<String> {
        let principals = self.users.iter().map(|user| self.scope.principal(user));
        principals.collect()
    }
}

/// Settings of a scope as the file has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default, deserialize_with = "given")]
    users: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    ttl_s: Option<u32>,
    #[serde(default, deserialize_with = "given")]
    max_ttl_s: Option<u32>,
}

/// Reads a value that is given. setup.sh and Terraform refuse `null`, which serde takes for a missing value.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// The entries of the file in their order. serde's maps would drop all but one of equal keys.
struct Entries(Vec<(String, Settings)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a scope as each key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        from.deserialize_map(Pairs)
    }
}

/// Reads a scope file.
///
/// # Errors
/// `NotFound` if the file cannot be read, `Config` with the reason if it is not a scope file.
pub(crate) fn read(path: &Path) -> Result<Vec<EnforcedScope>, CliError> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        CliError::new(
            Exit::NotFound,
            format!("cannot read the scope file `{name}`"),
        )
        .caused_by(&error)
        .hint("docs/rbac-scopes.md shows a scope file")
    })?;
    parse(&text).map_err(|reason| {
        CliError::new(
            Exit::Config,
            format!("`{name}` is not a scope file: {reason}"),
        )
        .hint("docs/rbac-scopes.md describes the file; `deploy/vault/scopes.example.json` is one")
    })
}

fn parse(text: &str) -> Result<Vec<EnforcedScope>, String> {
    let Entries(entries) = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut names = BTreeMap::new();
    let mut scopes = Vec::new();
    for (key, settings) in entries {
        let entry = entry(&key, settings)?;
        let name = entry.scope.vault_name();
        if let Some(other) = names.insert(name.clone(), key.clone()) {
            return Err(format!(
                "`{other}` and `{key}` have the same name in Vault, `{name}`"
            ));
        }
        scopes.push(entry);
    }
    Ok(scopes)
}

fn entry(key: &str, settings: Settings) -> Result<EnforcedScope, String> {
    let shown = key.escape_debug();
    let scope: Scope = key
        .parse()
        .map_err(|error| format!("`{shown}` is not a scope: {error}"))?;
    if scope.is_everything() {
        return Err(
            "the empty scope is not a scope of the file: its role is `sre-core`".to_owned(),
        );
    }
    if scope.to_string() != key {
        return Err(format!("`{shown}` must be written as `{scope}`"));
    }
    let users = match (scope.user(), settings.users) {
        (Some(user), None) => vec![user.to_owned()],
        (Some(_), Some(_)) => {
            return Err(format!("`{key}` names its account already; remove `users`"));
        }
        (None, users) => users.unwrap_or_default(),
    };
    if users.is_empty() {
        return Err(format!(
            "`users` of `{key}` is missing or empty; expected a list of accounts"
        ));
    }
    for user in &users {
        // The same rules as for the condition `user`.
        if let Err(error) = format!("user={user}").parse::<Scope>() {
            return Err(format!("`users` of `{key}`: {error}"));
        }
    }
    let ttl_s = settings.ttl_s.unwrap_or(TTL_S);
    let max_ttl_s = settings.max_ttl_s.unwrap_or(MAX_TTL_S);
    for (field, value) in [("ttl_s", ttl_s), ("max_ttl_s", max_ttl_s)] {
        if value == 0 || value > HIGHEST_S {
            return Err(format!(
                "`{field}` of `{key}` is {value}; expected 1 to {HIGHEST_S} seconds"
            ));
        }
    }
    if ttl_s > max_ttl_s {
        return Err(format!(
            "`ttl_s` of `{key}` is {ttl_s}, above its `max_ttl_s`, {max_ttl_s}"
        ));
    }
    Ok(EnforcedScope {
        scope,
        users,
        ttl_s,
        max_ttl_s,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn example_is_a_scope_file() {
        let example = include_str!("../../../deploy/vault/scopes.example.json");
        let scopes = parse(example).unwrap();
        let principals: Vec<_> = scopes.iter().map(EnforcedScope::principals).collect();
        assert_eq!(
            principals,
            [
                vec!["ubuntu@dc=seoul-onprem", "root@dc=seoul-onprem"],
                vec!["ubuntu@dc=seoul-onprem"],
                vec!["ubuntu@host=web-*"],
            ]
        );
        assert_eq!((scopes[0].ttl_s, scopes[0].max_ttl_s), (TTL_S, MAX_TTL_S));
        assert_eq!((scopes[2].ttl_s, scopes[2].max_ttl_s), (900, 3600));
    }

    #[test]
    fn files_that_setup_refuses_are_refused() {
        let files = include_str!("../../../tests/centre/rbac/scopes/wrong-files.txt");
        for file in files.lines() {
            assert!(parse(file).is_err(), "{file}");
        }
    }

    #[test]
    fn text_that_is_not_a_scope_file_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "EOF"),
            ("[]", "an object with a scope as each key"),
            (r#"{"": {"users": ["a"]}}"#, "the empty scope"),
            (r#"{"dc": {}}"#, "`dc` is not a condition"),
            (r#"{"dc=a\nb": {}}"#, "`dc=a\\nb` is not a scope"),
            (r#"{"user=b,dc=a": {}}"#, "must be written as `dc=a,user=b`"),
            (r#"{"host=WEB": {}}"#, "must be written as `host=web`"),
            (r#"{"dc=a": {"user": "b"}}"#, "unknown field `user`"),
            (r#"{"dc=a": {}}"#, "`users` of `dc=a` is missing or empty"),
            (r#"{"dc=a": {"users": []}}"#, "`users` of `dc=a` is missing"),
            (
                r#"{"dc=a": {"users": ["a b"]}}"#,
                "`users` of `dc=a`: the value of `user` contains ` `",
            ),
            (
                r#"{"dc=a": {"users": ["b,user=c"]}}"#,
                "`users` of `dc=a`: the condition `user` is given twice",
            ),
            (
                r#"{"user=b": {"users": ["b"]}}"#,
                "names its account already",
            ),
            (
                r#"{"user=b": {"ttl_s": 0}}"#,
                "`ttl_s` of `user=b` is 0; expected 1 to",
            ),
            (
                r#"{"user=b": {"max_ttl_s": 86401}}"#,
                "`max_ttl_s` of `user=b` is 86401; expected 1 to 86400 seconds",
            ),
            (
                r#"{"user=b": {"ttl_s": 7201}}"#,
                "above its `max_ttl_s`, 7200",
            ),
            (
                r#"{"dc=A": {"users": ["a"]}, "dc=a": {"users": ["a"]}}"#,
                "`dc=A` and `dc=a` have the same name in Vault, `vctl-scope-dc-a`",
            ),
            (
                r#"{"user=b": {}, "user=b": {}}"#,
                "`user=b` and `user=b` have the same name",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
