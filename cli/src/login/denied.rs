//! Explains a login that Vault refused with `permission denied`, its answer to two different mistakes.

use vctl_common::centre::VaultSettings;
use vctl_common::vault::{self, Method, VaultError};

use crate::error::CliError;
use crate::exit_code::Exit;

/// The hint for a user that logs in to a method which exists.
pub(super) const DISABLED: &str = "an administrator disabled this user in Vault, for example with `vctl revoke`: \
                        docs/live.md says how to give the access back";

/// The login path of an auth method, and the setting with its mount.
pub(super) struct LoginPath<'a> {
    pub(super) path: String,
    pub(super) setting: &'a str,
    pub(super) method: &'a str,
}

/// Returns whether this refusal needs an explanation.
pub(super) fn is_denied(message: &str) -> bool {
    message == "permission denied"
}

/// Returns the error with the hint that fits: the mount has no such method, or the user is disabled.
///
/// Vault answers a login at a path without auth method and a login of a disabled user alike. A `GET` of the path
/// tells them apart: without a method it is denied too.
pub(super) async fn explained(
    settings: &VaultSettings,
    login: LoginPath<'_>,
    refusal: String,
) -> CliError {
    let LoginPath {
        path,
        setting,
        method,
    } = login;
    let no_method = format!("check `{setting}`: Vault may have no {method} method there");
    match vault::ask_openly(settings, Method::GET, &path, None).await {
        Err(VaultError::Denied { .. }) => CliError::new(Exit::Config, refusal).hint(no_method),
        Err(VaultError::Unreachable { .. } | VaultError::Timeout { .. }) => {
            CliError::new(Exit::Permission, refusal).hint(format!("{no_method}. Or {DISABLED}"))
        }
        Ok(_) | Err(_) => CliError::new(Exit::Permission, refusal).hint(DISABLED),
    }
}
