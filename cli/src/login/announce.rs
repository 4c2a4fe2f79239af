//! Notices before a login: the server, the user and the reason.

use std::fmt::Write as _;

use jiff::Timestamp;
use vctl_common::config::Source;

use super::{CachedToken, Choices, Login};
use crate::config::Method;
use crate::ui::{notice, time};

impl Login<'_> {
    /// Prints the server, the user if known, and values that are not defaults. If a directory's file sets one of
    /// them, prints the file too.
    pub(super) fn announce(&self, method: Method, choices: &Choices) {
        notice::done(&self.announcement(method, choices));
    }

    /// Prints the reason why a login is necessary.
    pub(super) fn announce_another(&self, ended: Option<&CachedToken>) {
        let addr = &self.loaded.config.vault_addr;
        let now = Timestamp::now();
        notice::note(&match ended.map(|token| token.life.expires) {
            None => format!("not logged in to Vault at `{addr}`"),
            Some(Some(expired)) if expired <= now => {
                let ago = now.duration_since(expired).unsigned_abs();
                format!("the login to Vault at `{addr}` expired {}", time::age(ago))
            }
            Some(_) => format!("the login to Vault at `{addr}` is about to expire"),
        });
    }

    fn announcement(&self, method: Method, choices: &Choices) -> String {
        let config = &self.loaded.config;
        let mut text = format!("logging in to {}", config.vault_addr);
        let username = choices.username.as_ref().or(config.username.as_ref());
        if let (Method::Userpass, Some(username)) = (method, username) {
            let _ = write!(text, " as {username}");
        }
        let _ = write!(text, " ({method})");
        let mount = match method {
            Method::Oidc => Some(("oidc_mount", &config.oidc_mount)),
            Method::Userpass => Some(("userpass_mount", &config.userpass_mount)),
            Method::AppRole => Some(("approle_mount", &config.approle_mount)),
            Method::Token => None,
        };
        if let Some(namespace) = &config.vault_namespace {
            let _ = write!(text, ", namespace `{namespace}`");
        }
        if let Some((key, mount)) = mount
            && *self.loaded.source_of(key) != Source::Default
        {
            let _ = write!(text, ", mount `{mount}`");
        }
        let keys = ["vault_addr", "vault_namespace"].into_iter();
        let keys = keys.chain(mount.map(|(key, _)| key));
        let mut from_directory = keys.filter(|key| self.loaded.is_from_directory(key));
        if let Some(key) = from_directory.next() {
            let _ = write!(text, ", set by {}", self.loaded.source_of(key));
        }
        text
    }
}
