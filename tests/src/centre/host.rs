//! A host to log in to that trusts the centre's SSH authority: an sshd and one account.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::lab::sshd::{Settings, Sshd};
use crate::lab::{Journal, account, make_directory};

/// The host; nothing records its sessions, that is what a `Lab` is for.
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

    /// Starts an sshd in `root`, which is there, for an account that is there.
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

    /// The account to log in to.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// A file with the host's key, as `UserKnownHostsFile` takes it.
    pub fn known_hosts(&self) -> PathBuf {
        self.root.join("known_hosts")
    }

    /// Returns the kind and the text of the host's key.
    pub fn public_key(&self) -> String {
        let line = fs::read_to_string(self.root.join("keys/host.pub")).unwrap_or_default();
        let words: Vec<&str> = line.split(' ').take(2).collect();
        words.join(" ").trim_end().to_owned()
    }

    /// Has sshd trust no authority from now on.
    pub fn trust_nobody(&self) -> Result<()> {
        Ok(fs::write(self.root.join("trusted_ca"), "")?)
    }

    /// Has sshd show this certificate of its key from now on.
    pub fn show_certificate(&self, certificate: &str) -> Result<()> {
        self.sshd.show_certificate(&self.root, certificate)
    }

    /// Adds lines to the configuration of sshd, for each connection from now on.
    pub fn configure(&self, lines: &str) -> Result<()> {
        self.sshd.add_to_configuration(&self.root, lines)
    }

    /// Returns what sshd logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("sshd.log")).unwrap_or_default()
    }
}
