//! A host to log in to that trusts the centre's SSH authority: an sshd and one account.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::lab::sshd::{Settings, Sshd};
use crate::lab::{Journal, account, make_directory};

/// The host. It does not record sessions: use a `Lab` for that.
pub struct Host {
    sshd: Sshd,
    root: PathBuf,
    user: String,
}

impl Host {
    /// Starts sshd as the PAM service `id`; `trusted` is the public key of the authority.
    pub(super) fn start(
        journal: &Journal,
        id: &str,
        user: &str,
        root: &Path,
        trusted: &str,
    ) -> Result<Self> {
        make_directory(root, 0o711)?;
        make_directory(&root.join("homes"), 0o711)?;
        account::add(journal, user, &root.join("homes"))?;
        Self::with_account(journal, id, user, root, trusted)
    }

    /// Starts an sshd in an existing directory `root`, for an existing account.
    pub(super) fn with_account(
        journal: &Journal,
        id: &str,
        user: &str,
        root: &Path,
        trusted: &str,
    ) -> Result<Self> {
        for (name, mode) in [("keys", 0o700), ("authorized_keys", 0o755)] {
            make_directory(&root.join(name), mode)?;
        }
        let settings = Settings {
            root,
            service: id,
            trusted,
            session_lines: "",
            extra: "",
        };
        Ok(Self {
            sshd: Sshd::start(journal, &settings)?,
            root: root.to_owned(),
            user: user.to_owned(),
        })
    }

    pub fn port(&self) -> u16 {
        self.sshd.port
    }

    /// Account to log in to.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// File with the host key, in the format of `UserKnownHostsFile`.
    pub fn known_hosts(&self) -> PathBuf {
        self.root.join("known_hosts")
    }

    /// Returns the type and the text of the host key.
    pub fn public_key(&self) -> String {
        let line = fs::read_to_string(self.root.join("keys/host.pub")).unwrap_or_default();
        let words: Vec<&str> = line.split(' ').take(2).collect();
        words.join(" ").trim_end().to_owned()
    }

    /// Makes sshd trust no authority from now on.
    pub fn trust_nobody(&self) -> Result<()> {
        Ok(fs::write(self.root.join("trusted_ca"), "")?)
    }

    /// Makes sshd show this certificate of its key from now on.
    pub fn show_certificate(&self, certificate: &str) -> Result<()> {
        self.sshd.show_certificate(&self.root, certificate)
    }

    /// Adds lines to the configuration of sshd. They apply to each new connection.
    pub fn configure(&self, lines: &str) -> Result<()> {
        self.sshd.add_to_configuration(&self.root, lines)
    }

    /// Returns the log of sshd.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("sshd.log")).unwrap_or_default()
    }
}
