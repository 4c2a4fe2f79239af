//! Whether a server is the host it should be.
//!
//! A host certificate of an authority that is believed decides; else `known_hosts`; else a person,
//! where there is one to ask. A key that is not the known one ends everything: nobody is asked, and no
//! other way to the host is tried.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::ssh_key::{Fingerprint, HashAlg};
use russh::keys::{Algorithm, Certificate, PublicKeyOrCertificate};
use tokio::sync::{Mutex, OnceCell};
use vctl_common::vault::Vault;

use super::config_files::{self, ConfigFiles};
use super::connect::Target;
use super::known_hosts::{self, KnownHosts, Place, Standing};
use super::revoked_keys;
use crate::files::home;
use crate::ssh_ca::{self, Authority};
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::notice;

/// Why a server is not believed to be the host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostKeyError {
    #[error(
        "the host key of `{host}` has changed: it is {fingerprint}, and line {} of {} has another", place.line, place.file.display()
    )]
    Changed {
        host: String,
        fingerprint: Fingerprint,
        place: Place,
    },
    #[error("the host key of `{host}`, {fingerprint}, was revoked by line {} of {}", place.line, place.file.display())]
    Revoked {
        host: String,
        fingerprint: Fingerprint,
        place: Place,
    },
    #[error("the host key of `{host}` is not known: it is {fingerprint}")]
    Unknown {
        host: String,
        fingerprint: Fingerprint,
    },
    #[error("the host key of `{host}` was not accepted")]
    Declined { host: String },
    #[error("the host key of `{host}`, {fingerprint}, is revoked by `{}`, which ssh_config names as `RevokedHostKeys`", file.display())]
    InRevokedKeys {
        host: String,
        fingerprint: Fingerprint,
        file: PathBuf,
    },
    #[error("the host key of `{host}` cannot be checked for a revocation: {why}")]
    Unchecked { host: String, why: String },
    #[error("the host certificate of `{host}` {why}")]
    Certificate { host: String, why: String },
}

impl HostKeyError {
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Changed { host, place, .. } => Some(format!(
                "somebody may be listening in. If the host was made anew, take the old key out: `ssh-keygen -R {host} -f {}`",
                place.file.display()
            )),
            Self::Unknown { host, .. } => Some(format!(
                "connect once on a terminal to be asked, `vctl ssh {host}`, or give the host a certificate"
            )),
            Self::Unchecked { .. } => Some(
                "`RevokedHostKeys` in ssh_config must name a file of keys or a KRL that you can read; OpenSSH \
                 refuses every host otherwise, too"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// The files in which OpenSSH looks for host keys by default.
#[derive(Clone, Debug)]
pub(crate) struct KnownHostsFiles {
    /// Where a new one goes; none without a home.
    own: Option<PathBuf>,
}

impl KnownHostsFiles {
    pub(crate) fn of_this_person() -> Self {
        Self {
            own: home::dir().map(|home| home.join(".ssh/known_hosts")),
        }
    }

    /// Reads all of them: a key that is revoked in one is refused, whatever the others say of it.
    pub(crate) fn read(&self) -> KnownHosts {
        self.read_with(&[])
    }

    /// Reads also files that ssh_config names.
    fn read_with(&self, named: &[PathBuf]) -> KnownHosts {
        let system = Path::new("/etc/ssh/ssh_known_hosts");
        let mut known = KnownHosts::default();
        for first in self.own.as_deref().into_iter().chain([system]) {
            for path in [first.to_owned(), first.with_file_name(second_of(first))] {
                known.add(&path, &known_hosts::read(&path));
            }
        }
        for path in named {
            known.add(path, &known_hosts::read(path));
        }
        known
    }
}

/// `known_hosts2` and `ssh_known_hosts2`.
fn second_of(file: &Path) -> OsString {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push("2");
    name
}

/// What vouches for host keys.
pub(crate) struct HostKeys<'a> {
    files: KnownHostsFiles,
    vault: &'a Vault,
    interaction: Interaction,
    /// Two ways to a host are tried at once, and a person is asked one thing at a time, once.
    turn: Mutex<()>,
    vaults_authorities: OnceCell<Vec<Authority>>,
}

impl<'a> HostKeys<'a> {
    pub(crate) fn new(vault: &'a Vault, interaction: Interaction) -> Self {
        Self {
            files: KnownHostsFiles::of_this_person(),
            vault,
            interaction,
            turn: Mutex::new(()),
            vaults_authorities: OnceCell::new(),
        }
    }

    /// Returns the files about the keys of a host that ssh_config names.
    pub(super) async fn files(&self, target: &Target) -> ConfigFiles {
        config_files::of(target).await
    }

    /// Returns the kinds of keys to ask a host for first.
    pub(super) fn preferred(&self, host: &str, named: &ConfigFiles) -> Vec<Algorithm> {
        self.files.read_with(&named.known).algorithms(host)
    }

    /// Decides whether the server that showed this is `host`.
    pub(super) async fn verify(
        &self,
        host: &str,
        named: &ConfigFiles,
        shown: &PublicKeyOrCertificate,
    ) -> Result<(), HostKeyError> {
        let _turn = self.turn.lock().await;
        let known = self.files.read_with(&named.known);
        let key = shown.public_key();
        let key = key.key_data();
        let fingerprint = key.fingerprint(HashAlg::Sha256);
        refuse_revoked(host, named, shown)?;
        if let Some(certificate) = shown.certificate() {
            let authority = certificate.signature_key();
            if let Some(place) = known.revoked(host, authority).or(known.revoked(host, key)) {
                return Err(HostKeyError::Revoked {
                    host: host.to_owned(),
                    fingerprint,
                    place: place.clone(),
                });
            }
            if known.is_authority(host, authority) || self.is_vaults(authority).await {
                return holds(certificate, host, Timestamp::now()).map_err(|why| {
                    HostKeyError::Certificate {
                        host: host.to_owned(),
                        why,
                    }
                });
            }
            // Of an authority nobody here believes: it is worth what its bare key is, as with OpenSSH.
        }
        match known.standing(host, key) {
            Standing::Known => Ok(()),
            Standing::Changed(place) => Err(HostKeyError::Changed {
                host: host.to_owned(),
                fingerprint,
                place,
            }),
            Standing::Revoked(place) => Err(HostKeyError::Revoked {
                host: host.to_owned(),
                fingerprint,
                place,
            }),
            Standing::Unknown => self.ask(host, key, fingerprint).await,
        }
    }

    /// Says whether a key is one of Vault's SSH CAs, which sign hosts, too: during a rotation there are two.
    /// Asked only once a host shows a certificate; a Vault that does not answer vouches for nobody.
    async fn is_vaults(&self, key: &KeyData) -> bool {
        let ask = || async {
            let asked = ssh_ca::published(self.vault.settings()).await;
            asked.unwrap_or_default()
        };
        let authorities = self.vaults_authorities.get_or_init(ask).await;
        authorities.iter().any(|authority| authority.is(key))
    }

    async fn ask(
        &self,
        host: &str,
        key: &KeyData,
        fingerprint: Fingerprint,
    ) -> Result<(), HostKeyError> {
        let host = host.to_owned();
        if self.interaction == Interaction::Never {
            return Err(HostKeyError::Unknown { host, fingerprint });
        }
        let kind = key.algorithm();
        notice::done(&format!("The host key of `{host}` is not known."));
        notice::done(&format!("{kind} {fingerprint}"));
        let answer = confirmed("Is it the right one, to be remembered?").await;
        if !matches!(answer, Ok(true)) {
            return Err(HostKeyError::Declined { host });
        }
        if let Some(path) = &self.files.own {
            let key = russh::keys::PublicKey::from(key.clone());
            let line = key.to_openssh().unwrap_or_default();
            let added = known_hosts::append(path, &format!("{host} {line}"));
            if let Err(error) = added {
                notice::note(&format!(
                    "the host key could not be remembered in {}: {error}",
                    path.display()
                ));
            }
        }
        Ok(())
    }
}

/// Refuses a key that `RevokedHostKeys` revokes, and each key where that cannot be found out.
fn refuse_revoked(
    host: &str,
    named: &ConfigFiles,
    shown: &PublicKeyOrCertificate,
) -> Result<(), HostKeyError> {
    let unchecked = |why| HostKeyError::Unchecked {
        host: host.to_owned(),
        why,
    };
    let Some(file) = &named.revoked else {
        return Ok(());
    };
    let file = file.as_ref().map_err(|why| unchecked(why.clone()))?;
    let is_revoked = revoked_keys::revokes(file, shown)
        .map_err(|why| unchecked(format!("`{}`: {why}", file.display())))?;
    if !is_revoked {
        return Ok(());
    }
    Err(HostKeyError::InRevokedKeys {
        host: host.to_owned(),
        fingerprint: shown.public_key().key_data().fingerprint(HashAlg::Sha256),
        file: file.clone(),
    })
}

/// Says why a certificate is none for `host` now.
fn holds(certificate: &Certificate, host: &str, now: Timestamp) -> Result<(), String> {
    if !certificate.cert_type().is_host() {
        return Err("is a user's".to_owned());
    }
    if certificate.verify_signature().is_err() {
        return Err("is not signed by who it says".to_owned());
    }
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    if now < certificate.valid_after() {
        return Err("is not valid yet".to_owned());
    }
    if now >= certificate.valid_before() {
        return Err("has expired".to_owned());
    }
    if let Some((name, _)) = certificate.critical_options().iter().next() {
        return Err(format!(
            "has the critical option `{name}`, which we do not know"
        ));
    }
    let names = certificate.valid_principals();
    if !names
        .iter()
        .any(|name| known_hosts::matches(name.as_bytes(), host.as_bytes()))
    {
        return Err(format!("is for `{}`", names.join("`, `")));
    }
    Ok(())
}
