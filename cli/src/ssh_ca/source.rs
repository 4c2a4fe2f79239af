//! The Vault that the CAs come from. An operator compares it before a host trusts them.

use std::fmt::Write as _;

use vctl_common::centre::VaultSettings;

use super::Authority;
use crate::ui::{notice, sanitize};

/// Address and namespace of a Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    addr: String,
    namespace: Option<String>,
}

impl Source {
    pub(crate) fn of(settings: &VaultSettings) -> Self {
        Self {
            addr: settings.addr.clone(),
            namespace: settings.namespace.clone(),
        }
    }

    /// Prints the CAs on stderr.
    pub(crate) fn tell(&self, authorities: &[Authority]) {
        for authority in authorities {
            notice::done(&self.describe(authority));
        }
    }

    /// Returns one line, without characters that could end a comment.
    pub(crate) fn describe(&self, authority: &Authority) -> String {
        let (fingerprint, mount) = (authority.fingerprint(), &authority.mount);
        let mut text = format!("SSH CA {fingerprint} of {}, mount {mount}/", self.addr);
        if let Some(namespace) = &self.namespace {
            let _ = write!(text, ", namespace {namespace}");
        }
        sanitize::visible(&text).into_owned()
    }
}
