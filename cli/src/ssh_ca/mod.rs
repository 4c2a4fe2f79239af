//! The SSH CAs of Vault: the active one and, during a rotation, the one beside it.

pub(crate) mod host_certificate;
pub(crate) mod principal;
mod published;
mod source;
pub(crate) mod store;
pub(crate) mod user_certificate;
pub(crate) mod validity;

use russh::keys::PublicKey;
use russh::keys::ssh_key::HashAlg;
use russh::keys::ssh_key::public::KeyData;

pub(crate) use published::{each, published};
pub(crate) use source::Source;

/// A CA and its mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// The mount of Vault that holds its private key.
    pub(crate) mount: String,
    key: PublicKey,
}

impl Authority {
    /// Parses a line of `authorized_keys`, and drops its comment.
    pub(crate) fn read(mount: &str, line: &str) -> Option<Self> {
        let mut key = PublicKey::from_openssh(line.trim()).ok()?;
        key.set_comment("");
        Some(Self {
            mount: mount.to_owned(),
            key,
        })
    }

    /// Returns type and key as OpenSSH writes them. The line contains no character that is special to a shell.
    pub(crate) fn line(&self) -> String {
        self.key
            .to_openssh()
            .unwrap_or_default()
            .trim_end()
            .to_owned()
    }

    /// Returns the fingerprint as OpenSSH prints it: `SHA256:...`.
    pub(crate) fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    pub(crate) fn is(&self, key: &KeyData) -> bool {
        self.key.key_data() == key
    }

    pub(crate) fn kind(&self) -> String {
        self.key.algorithm().to_string()
    }
}

/// Returns the mounts of CAs: the configured one, and the one that a rotation uses beside it. They take turns: the
/// database has which of them signs.
pub(crate) fn mounts(configured: &str) -> [String; 2] {
    [configured.to_owned(), format!("{configured}-next")]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn comment_of_a_line_is_dropped() {
        let authority = Authority::read("ssh", &format!(" {KEY} $(touch /tmp/x) `id`\n")).unwrap();
        assert_eq!(authority.line(), KEY);
        assert_eq!(authority.kind(), "ssh-ed25519");
        assert!(authority.fingerprint().starts_with("SHA256:"));
        for text in ["", "no key", "ssh-ed25519", "ssh-ed25519 AAAA"] {
            assert!(Authority::read("ssh", text).is_none(), "{text}");
        }
    }

    #[test]
    fn rotation_uses_two_mounts() {
        assert_eq!(mounts("team/ssh"), ["team/ssh", "team/ssh-next"]);
    }
}
