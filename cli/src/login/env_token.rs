//! A token that somebody else got: `VAULT_TOKEN`.

use std::env;

use vctl_common::secret::Secret;
use vctl_common::vault::VaultError;

use crate::config::Method;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::notice;

/// The token in the environment, where it wins over every other as it does for Vault's own program.
pub(crate) fn given() -> Result<Option<Secret<String>>, CliError> {
    match env::var("VAULT_TOKEN") {
        Ok(token) => Ok(Some(token)
            .filter(|token| !token.is_empty())
            .map(Secret::new)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => {
            Err(CliError::new(Exit::Config, "`VAULT_TOKEN` is not UTF-8"))
        }
    }
}

/// Says that Vault does not know who a login makes one: where a token was brought along, that one is meant, and
/// none that was kept.
pub(super) fn refused(method: Method, error: VaultError) -> Stop {
    match (method, &error) {
        (Method::Token, VaultError::TokenInvalid) => {
            let message = "Vault rejected the token: invalid, expired or revoked";
            let hint = "get another with `vctl login`; `vctl login --help` lists the methods";
            CliError::new(Exit::Permission, message).hint(hint).into()
        }
        _ => error.into(),
    }
}

/// Says that a login is there and another token is used all the same.
pub(crate) fn note_when_overridden() {
    if env::var_os("VAULT_TOKEN").is_some_and(|token| !token.is_empty()) {
        notice::note("`VAULT_TOKEN` is set and wins over this login: unset it to use the login");
    }
}
