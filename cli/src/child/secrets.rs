//! Secrets of Vault as environment variables of a command.

use std::str::FromStr;

use serde_json::Value;
use vctl_common::centre::VaultSettings;
use vctl_common::secret::Secret;
use vctl_common::vault::{Auth, Vault, VaultError};

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// An argument `NAME=PATH#FIELD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretVariable {
    name: String,
    path: String,
    field: String,
}

impl FromStr for SecretVariable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "expected `NAME=PATH#FIELD`";
        let (name, source) = text.split_once('=').ok_or(FORM)?;
        let (path, field) = source.rsplit_once('#').ok_or(FORM)?;
        let mut letters = name.bytes();
        let first = letters
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        if !first || !letters.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(format!(
                "`{}` is not a valid variable name",
                name.escape_debug()
            ));
        }
        let path = path.trim_matches('/');
        if path.is_empty() || field.is_empty() {
            return Err(FORM.to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            path: path.to_owned(),
            field: field.to_owned(),
        })
    }
}

/// Reads the secret of each variable from Vault.
pub(crate) async fn secrets(
    variables: &[SecretVariable],
    settings: &VaultSettings,
    token: &Secret<String>,
) -> Result<Vec<(String, Secret<String>)>, Stop> {
    let vault = Vault::connect(settings, Auth::Token(token.clone()))?;
    let mut read = Vec::with_capacity(variables.len());
    for variable in variables {
        let data = data_at(&vault, &variable.path).await?;
        let value = match &data[&variable.field] {
            Value::String(text) => text.clone(),
            value @ (Value::Number(_) | Value::Bool(_)) => value.to_string(),
            _ => {
                let message = format!("`{}` has no field `{}`", variable.path, variable.field);
                return Err(CliError::new(Exit::NotFound, message).into());
            }
        };
        if value.contains('\0') {
            let message = format!(
                "field `{}` of `{}` contains a zero byte",
                variable.field, variable.path
            );
            return Err(CliError::new(Exit::Failure, message).into());
        }
        read.push((variable.name.clone(), Secret::new(value)));
    }
    Ok(read)
}

/// Reads a path as the `vault kv` commands take it. A versioned key-value engine has an additional path
/// element, and an additional level in the answer.
async fn data_at(vault: &Vault, path: &str) -> Result<Value, VaultError> {
    let mount = vault.read(&format!("sys/internal/ui/mounts/{path}")).await;
    // The token may lack this right; the path is then used unchanged.
    let mount = mount.unwrap_or_default();
    let versioned = mount["options"]["version"] == "2";
    let at = mount["path"].as_str().map(|at| at.trim_end_matches('/'));
    let rest = at.and_then(|at| path.strip_prefix(at)?.strip_prefix('/'));
    match (versioned, at, rest) {
        (true, Some(at), Some(rest)) if !rest.starts_with("data/") => {
            let mut data = vault.read(&format!("{at}/data/{rest}")).await?;
            Ok(data["data"].take())
        }
        (true, _, Some(_)) => Ok(vault.read(path).await?["data"].take()),
        _ => vault.read(path).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_name_a_path_and_a_field() {
        let variable: SecretVariable = "PGPASSWORD=kv/services/db#password".parse().unwrap();
        assert_eq!(
            (&*variable.name, &*variable.path, &*variable.field),
            ("PGPASSWORD", "kv/services/db", "password")
        );
        for bad in [
            "", "A", "A=kv", "A=#f", "A=kv#", "1A=kv#f", "A B=kv#f", "=kv#f", "A=/#f",
        ] {
            assert!(bad.parse::<SecretVariable>().is_err(), "{bad}");
        }
    }
}
