//! Verification of a server's host key.
//!
//! A host certificate of a trusted CA decides; without one, `known_hosts`; without an entry, the user is asked if
//! prompts are allowed. A key that differs from the known one ends everything: there is no prompt, and no other route to
//! the host is tried.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::ssh_key::{Fingerprint, HashAlg};
use russh::keys::{Algorithm, Certificate, PublicKeyOrCertificate};
use tokio::sync::{Mutex, OnceCell};
use vctl_common::vault::Vault;

use super::confirmation::Confirmation;
use super::host_key_files::{self, HostKeyFiles};
use super::known_hosts::{self, KeyVerdict, KnownHosts, LinePosition};
use super::revoked_keys;
use super::route_plan::Target;
use crate::files::home;
use crate::ssh_ca::{self, Authority};
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::notice;

/// Reason why a server's key is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostKeyError {
    #[error(
        "the host key of `{host}` has changed: it is {fingerprint}, but line {} of {} has another key", place.line, place.file.display()
    )]
    Changed {
        host: String,
        fingerprint: Fingerprint,
        place: LinePosition,
        /// The host showed a certificate of an unknown CA, for a key of another type than the known ones. It may have a
        /// known key too.
        hides_known_type: bool,
    },
    #[error("the host key of `{host}`, {fingerprint}, was revoked by line {} of {}", place.line, place.file.display())]
    Revoked {
        host: String,
        fingerprint: Fingerprint,
        place: LinePosition,
    },
    #[error("the host key of `{host}` is not known: it is {fingerprint}")]
    Unknown {
        host: String,
        /// The host as an argument of `vctl ssh`.
        destination: String,
        fingerprint: Fingerprint,
    },
    #[error("the host key of `{host}` was not accepted")]
    Declined { host: String },
    /// A key that is not stored would be accepted again after a change.
    #[error("the host key of `{host}` is new and cannot be stored in {}: {why}", file.display())]
    NotStored {
        host: String,
        file: PathBuf,
        why: String,
    },
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
                "an attacker may intercept the connection. If the host was reinstalled, remove the old key: `ssh-keygen -R {host} -f {}`",
                place.file.display()
            )),
            Self::Unknown { destination, .. } => Some(format!(
                "connect once on a terminal to confirm the key, `vctl ssh {destination}`, or give the host a certificate"
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
    /// File for new keys; `None` without a home directory.
    own: Option<PathBuf>,
}

impl KnownHostsFiles {
    pub(crate) fn of_this_person() -> Self {
        Self {
            own: home::dir().map(|home| home.join(".ssh/known_hosts")),
        }
    }

    /// Reads all of them: a key revoked in one file is refused, whatever the others contain.
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

/// Handling of a host whose key is in no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UnknownKeys {
    /// The user is asked if prompts are allowed; otherwise the host is refused.
    Ask(Interaction),
    /// The key is accepted and added to this file, which is also read.
    AcceptInto(PathBuf),
}

/// The sources that host keys are verified with.
pub(crate) struct HostKeys<'a> {
    files: KnownHostsFiles,
    vault: &'a Vault,
    unknown: UnknownKeys,
    /// Two routes to a host are tried in parallel, but the user gets one prompt at a time, and only once.
    prompt_lock: Mutex<()>,
    vaults_authorities: OnceCell<Vec<Authority>>,
}

impl<'a> HostKeys<'a> {
    pub(crate) fn new(vault: &'a Vault, unknown: UnknownKeys) -> Self {
        Self {
            files: KnownHostsFiles::of_this_person(),
            vault,
            unknown,
            prompt_lock: Mutex::new(()),
            vaults_authorities: OnceCell::new(),
        }
    }

    /// Returns the files with host keys that ssh_config names for a host.
    pub(super) async fn files(&self, target: &Target) -> HostKeyFiles {
        host_key_files::of(target).await
    }

    /// Returns the key types to request from a host first.
    pub(super) fn preferred(&self, host: &str, named: &HostKeyFiles) -> Vec<Algorithm> {
        self.known(named).algorithms(host)
    }

    fn known(&self, named: &HostKeyFiles) -> KnownHosts {
        let mut known = self.files.read_with(&named.known);
        if let UnknownKeys::AcceptInto(path) = &self.unknown {
            known.add(path, &known_hosts::read(path));
        }
        known
    }

    /// Verifies that the server with this key or certificate is `target`.
    pub(super) async fn verify(
        &self,
        target: &Target,
        named: &HostKeyFiles,
        shown: &PublicKeyOrCertificate,
        confirmation: &Confirmation<'_>,
    ) -> Result<(), HostKeyError> {
        let host = &*target.name;
        let _turn = self.prompt_lock.lock().await;
        let known = self.known(named);
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
                return check_certificate(certificate, host, Timestamp::now()).map_err(|why| {
                    HostKeyError::Certificate {
                        host: host.to_owned(),
                        why,
                    }
                });
            }
            // A certificate of an unknown CA counts as its bare key, as in OpenSSH.
        }
        match known.verdict(host, key) {
            KeyVerdict::Known => Ok(()),
            KeyVerdict::Changed(place) => Err(HostKeyError::Changed {
                hides_known_type: shown.certificate().is_some()
                    && !known.has_type(host, &key.algorithm()),
                host: host.to_owned(),
                fingerprint,
                place,
            }),
            KeyVerdict::Revoked(place) => Err(HostKeyError::Revoked {
                host: host.to_owned(),
                fingerprint,
                place,
            }),
            KeyVerdict::Unknown => {
                // A host that moved is not asked about, and its key is not stored.
                confirmation.wait().await;
                match &self.unknown {
                    UnknownKeys::Ask(interaction) => {
                        self.ask(*interaction, target, key, fingerprint).await
                    }
                    UnknownKeys::AcceptInto(path) => accept(path, host, key, fingerprint),
                }
            }
        }
    }

    /// Returns whether the key is one of Vault's SSH CAs, which also sign host certificates; during a rotation there are
    /// two. Vault is asked only when a host shows a certificate; if it does not answer, the CA is not trusted.
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
        interaction: Interaction,
        target: &Target,
        key: &KeyData,
        fingerprint: Fingerprint,
    ) -> Result<(), HostKeyError> {
        let host = target.name.clone();
        if interaction != Interaction::Allowed {
            return Err(unknown(target, fingerprint));
        }
        let kind = key.algorithm();
        notice::done(&format!("The host key of `{host}` is not known."));
        notice::done(&format!("{kind} {fingerprint}"));
        let question = "Is this the right key? It is then added to known_hosts.";
        let answer = confirmed(interaction, question).await;
        if !matches!(answer, Ok(true)) {
            return Err(HostKeyError::Declined { host });
        }
        if let Some(path) = &self.files.own {
            let added = known_hosts::append(path, &known_hosts::line_of(&host, key));
            if let Err(error) = added {
                notice::note(&format!(
                    "the host key could not be added to {}: {error}",
                    path.display()
                ));
            }
        }
        Ok(())
    }
}

fn unknown(target: &Target, fingerprint: Fingerprint) -> HostKeyError {
    HostKeyError::Unknown {
        host: target.name.clone(),
        destination: target.destination(),
        fingerprint,
    }
}

/// Accepts the first key of a host and adds it to the file.
///
/// The file is read again under its lock: of two connections at the same time, only one is the first.
fn accept(
    path: &Path,
    host: &str,
    key: &KeyData,
    fingerprint: Fingerprint,
) -> Result<(), HostKeyError> {
    let verdict_of = |text: &[u8]| {
        let mut known = KnownHosts::default();
        known.add(path, text);
        known.verdict(host, key)
    };
    let mut verdict = KeyVerdict::Unknown;
    let added = known_hosts::append_unless(path, &known_hosts::line_of(host, key), |text| {
        verdict = verdict_of(text);
        verdict != KeyVerdict::Unknown
    });
    let host = host.to_owned();
    match (added, verdict) {
        (Ok(true), _) | (Ok(false), KeyVerdict::Known) => Ok(()),
        (Ok(false), KeyVerdict::Changed(place)) => Err(HostKeyError::Changed {
            host,
            fingerprint,
            place,
            hides_known_type: false,
        }),
        (Ok(false), KeyVerdict::Revoked(place)) => Err(HostKeyError::Revoked {
            host,
            fingerprint,
            place,
        }),
        (Ok(false), KeyVerdict::Unknown) => Err(HostKeyError::Unknown {
            destination: host.clone(),
            host,
            fingerprint,
        }),
        (Err(error), _) => Err(HostKeyError::NotStored {
            host,
            file: path.to_owned(),
            why: error.to_string(),
        }),
    }
}

/// Refuses a key that `RevokedHostKeys` revokes, and every key if the file cannot be checked.
fn refuse_revoked(
    host: &str,
    named: &HostKeyFiles,
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

/// Checks a host certificate for `host` at a time; the error is the reason why it is not valid.
fn check_certificate(certificate: &Certificate, host: &str, now: Timestamp) -> Result<(), String> {
    if !certificate.cert_type().is_host() {
        return Err("is a user certificate, not a host certificate".to_owned());
    }
    if certificate.verify_signature().is_err() {
        return Err("is not signed by the CA that it names".to_owned());
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
            "has the critical option `{name}`, which vctl does not know"
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::inventory::tests::host;
    use crate::ssh::destination::Destination;
    use crate::ssh::route_plan::address_name;
    use crate::ssh::target::HostSelector;

    const KEYS: [&str; 2] = [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio",
    ];

    fn accept_key(path: &Path, key: &str) -> Result<(), HostKeyError> {
        let key = russh::keys::PublicKey::from_openssh(key).unwrap();
        let key = key.key_data();
        accept(path, "web-1", key, key.fingerprint(HashAlg::Sha256))
    }

    #[test]
    fn the_hint_for_an_unknown_key_names_the_same_host() {
        for addr in [
            "127.0.0.1:2222",
            "127.0.0.1:22",
            "[fd00::1]:2222",
            "[fd00::1]:22",
        ] {
            let (user, addr) = ("root".to_owned(), addr.parse().unwrap());
            let mut target = Target::of(&host("web-1"), "ssh");
            let named = hint_of(&target);
            assert!(named.contains("`vctl ssh web-1`"), "{named}");
            target.name = address_name(addr);
            target.addr = addr;
            target.user.clone_from(&user);
            target.dc = String::new();
            let hint = hint_of(&target);
            let (_, command) = hint.split_once("`vctl ssh ").unwrap();
            let (destination, _) = command.split_once('`').unwrap();
            let wanted = Destination::parse(destination).unwrap().wanted();
            assert_eq!(wanted, HostSelector::Address { user, addr }, "{hint}");
        }
    }

    /// Returns the hint about an unknown key of this host.
    fn hint_of(target: &Target) -> String {
        let key = russh::keys::PublicKey::from_openssh(KEYS[0]).unwrap();
        let fingerprint = key.key_data().fingerprint(HashAlg::Sha256);
        unknown(target, fingerprint).hint().unwrap()
    }

    #[test]
    fn the_first_of_two_keys_of_a_host_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        accept_key(&file, KEYS[0]).unwrap();
        let error = accept_key(&file, KEYS[1]).unwrap_err();
        assert!(matches!(&error, HostKeyError::Changed { place, .. } if place.line == 1));
        accept_key(&file, KEYS[0]).unwrap();
        let stored = fs::read_to_string(&file).unwrap();
        assert_eq!(stored, format!("web-1 {}\n", KEYS[0]));
    }

    #[test]
    fn a_key_that_cannot_be_stored_is_not_accepted() {
        let dir = tempfile::tempdir().unwrap();
        let error = accept_key(dir.path(), KEYS[0]).unwrap_err();
        assert!(matches!(&error, HostKeyError::NotStored { host, .. } if host == "web-1"));
    }
}
