//! The token in `VAULT_TOKEN`.

use std::env;

use vctl_common::secret::Secret;
use vctl_common::vault::VaultError;

use crate::config::Method;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::notice;

/// Returns the token of the environment. It takes precedence over the cached one, as in the vault program.
pub(crate) fn env_token() -> Result<Option<Secret<String>>, CliError> {
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

/// Returns the error of a login. If a given token is invalid, the error is about that token, and not about
/// the cached one.
pub(super) fn refused(method: Method, error: VaultError) -> Stop {
    match (method, &error) {
        (Method::Token, VaultError::TokenInvalid) => {
            let message = "Vault rejected the token: invalid, expired or revoked";
            let hint = "log in with `vctl login`; `vctl login --help` lists the methods";
            CliError::new(Exit::Permission, message).hint(hint).into()
        }
        _ => error.into(),
    }
}

/// Prints a note if `VAULT_TOKEN` takes precedence over the new login.
pub(crate) fn note_if_env_token_wins() {
    if is_set() {
        notice::note(
            "`VAULT_TOKEN` is set and takes precedence over this login: unset it to use the login",
        );
    }
}

/// Prints a note if `VAULT_TOKEN` is set, for a command that keeps the login valid.
pub(crate) fn note_if_env_token_is_ignored() {
    if is_set() {
        notice::note("`VAULT_TOKEN` is ignored: this command uses the token of `vctl login`");
    }
}

fn is_set() -> bool {
    env::var_os("VAULT_TOKEN").is_some_and(|token| !token.is_empty())
}
