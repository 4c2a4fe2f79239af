//! One attempt of single sign-on.

use vctl_common::centre::VaultSettings;
use vctl_common::secret::Secret;

/// One attempt to log in.
pub(super) struct OidcLogin<'a> {
    pub(super) vault: &'a VaultSettings,
    pub(super) mount: &'a str,
    pub(super) role: &'a str,
    /// Known only to this process and Vault, not to the browser: a stolen code is useless without it.
    pub(super) client_nonce: Secret<String>,
}
