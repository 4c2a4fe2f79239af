//! OpenSSH's `known_hosts`: the keys of a host, and adding a key.
//!
//! The format is that of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT": plain, hashed, with patterns, with `@cert-authority`
//! and `@revoked`. [`line`] parses it as OpenSSH does. A host of the inventory is stored by its name, as with OpenSSH's
//! `HostKeyAlias`: an address may later belong to another host, a name does not.
//!
//! russh has a reader of its own, without markers and wildcards. That of ssh-key matches no host
//! names, and refuses tabs and text that is not UTF-8.

mod file;
mod line;
mod pattern;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg};

use line::KnownHostsLine;
pub(crate) use line::{Marker, key as key_of_line, line_of};

pub(crate) use file::{append, append_unless, read};
pub(crate) use pattern::matches;

/// Position of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinePosition {
    pub(crate) file: Arc<PathBuf>,
    pub(crate) line: usize,
}

/// Verdict of `known_hosts` on a host's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyVerdict {
    Known,
    Unknown,
    /// The host has a different key.
    Changed(LinePosition),
    Revoked(LinePosition),
}

/// All valid lines of all files.
#[derive(Debug, Default)]
pub(crate) struct KnownHosts(Vec<(LinePosition, KnownHostsLine)>);

impl KnownHosts {
    /// Adds the lines of a file. An invalid line is skipped, as in OpenSSH: it may be cut off, or have an obsolete key
    /// type.
    pub(crate) fn add(&mut self, file: &Path, text: &[u8]) {
        let file = Arc::new(file.to_owned());
        for (index, bytes) in text.split(|&byte| byte == b'\n').enumerate() {
            if let Some(line) = KnownHostsLine::parse(bytes) {
                let place = LinePosition {
                    file: Arc::clone(&file),
                    line: index + 1,
                };
                self.0.push((place, line));
            }
        }
    }

    /// Returns the verdict on a key that a host showed.
    pub(crate) fn verdict(&self, host: &str, key: &KeyData) -> KeyVerdict {
        if let Some(place) = self.revoked(host, key) {
            return KeyVerdict::Revoked(place.clone());
        }
        let mut other = None;
        for (place, line) in self.of(host).filter(|(_, line)| line.marker.is_none()) {
            if line.key == *key && !line.is_certificate {
                return KeyVerdict::Known;
            }
            other.get_or_insert(place);
        }
        // This also holds if the known key is of another type: that type was requested first, so the
        // server no longer has that key, unless it showed a certificate (see `hides_known_type`).
        match other {
            Some(place) => KeyVerdict::Changed(place.clone()),
            None => KeyVerdict::Unknown,
        }
    }

    /// Returns the line that revokes a key of a host or of a CA.
    pub(crate) fn revoked<'a>(&'a self, host: &'a str, key: &KeyData) -> Option<&'a LinePosition> {
        let mut lines = self.of(host);
        lines
            .find(|(_, line)| line.marker == Some(Marker::Revoked) && line.key == *key)
            .map(|(place, _)| place)
    }

    /// Returns whether certificates of this CA are trusted for a host.
    pub(crate) fn is_authority(&self, host: &str, key: &KeyData) -> bool {
        self.of(host)
            .any(|(_, line)| line.marker == Some(Marker::CertAuthority) && line.key == *key)
    }

    /// Returns the types of a host's known keys. They are requested first, so that the host shows a key that can be
    /// compared.
    pub(crate) fn algorithms(&self, host: &str) -> Vec<Algorithm> {
        let plain = self
            .of(host)
            .filter(|(_, line)| line.marker.is_none() && !line.is_certificate);
        plain
            .flat_map(|(_, line)| signature_algorithms(line.key.algorithm()))
            .collect()
    }

    /// Returns whether a known key of the host has this type.
    pub(crate) fn has_type(&self, host: &str, algorithm: &Algorithm) -> bool {
        self.of(host)
            .filter(|(_, line)| line.marker.is_none() && !line.is_certificate)
            .any(|(_, line)| line.key.algorithm() == *algorithm)
    }

    /// Returns every known, revoked or CA key for a host.
    pub(crate) fn about<'a>(
        &'a self,
        host: &'a str,
    ) -> impl Iterator<Item = (Option<Marker>, &'a KeyData)> {
        let lines = self.of(host).map(|(_, line)| line);
        // A certificate in place of a host's key is ignored, but a revoked one counts.
        let lines =
            lines.filter(|line| !line.is_certificate || line.marker == Some(Marker::Revoked));
        lines.map(|line| (line.marker, &line.key))
    }

    fn of<'a>(
        &'a self,
        host: &'a str,
    ) -> impl Iterator<Item = (&'a LinePosition, &'a KnownHostsLine)> {
        let lines = self.0.iter().map(|(place, line)| (place, line));
        lines.filter(move |(_, line)| pattern::names(&line.names, host))
    }
}

/// Returns the signature algorithms of a key type. RSA has several.
fn signature_algorithms(algorithm: Algorithm) -> Vec<Algorithm> {
    match algorithm {
        Algorithm::Rsa { .. } => [HashAlg::Sha512, HashAlg::Sha256]
            .map(|hash| Algorithm::Rsa { hash: Some(hash) })
            .to_vec(),
        other => vec![other],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";

    fn key(line: &str) -> KeyData {
        russh::keys::PublicKey::from_openssh(line)
            .unwrap()
            .key_data()
            .clone()
    }

    fn known(text: &str) -> KnownHosts {
        let mut known = KnownHosts::default();
        known.add(Path::new("known_hosts"), text.as_bytes());
        known
    }

    fn line_of(verdict: &KeyVerdict) -> Option<usize> {
        match verdict {
            KeyVerdict::Changed(place) | KeyVerdict::Revoked(place) => Some(place.line),
            _ => None,
        }
    }

    #[test]
    fn host_is_known_by_its_name_alone() {
        let known = known(&format!("web-1 {ONE}\nweb-2 {OTHER} a comment\n"));
        assert_eq!(known.verdict("web-1", &key(ONE)), KeyVerdict::Known);
        assert_eq!(known.verdict("web-2", &key(OTHER)), KeyVerdict::Known);
        assert_eq!(known.verdict("web-3", &key(ONE)), KeyVerdict::Unknown);
        let changed = known.verdict("web-2", &key(ONE));
        assert!(matches!(changed, KeyVerdict::Changed(_)), "{changed:?}");
        assert_eq!(line_of(&changed), Some(2));
    }

    #[test]
    fn key_of_another_type_is_a_changed_key() {
        let known = known(&format!("web-1 {ECDSA}\n"));
        let verdict = known.verdict("web-1", &key(ONE));
        assert!(matches!(verdict, KeyVerdict::Changed(_)), "{verdict:?}");
        let asked_for = known.algorithms("web-1");
        assert_eq!(asked_for, [key(ECDSA).algorithm()]);
        assert!(known.algorithms("web-2").is_empty());
    }

    #[test]
    fn revoked_key_is_refused_even_if_known() {
        let known = known(&format!("web-1 {ONE}\n@revoked * {ONE}\n"));
        let verdict = known.verdict("web-1", &key(ONE));
        assert!(matches!(verdict, KeyVerdict::Revoked(_)), "{verdict:?}");
        assert_eq!(line_of(&verdict), Some(2));
    }

    #[test]
    fn authority_is_trusted_only_for_its_hosts() {
        let known = known(&format!("@cert-authority *.example,!bad.example {ONE}\n"));
        assert!(known.is_authority("web.example", &key(ONE)));
        assert!(!known.is_authority("bad.example", &key(ONE)));
        assert!(!known.is_authority("web.example", &key(OTHER)));
        // The CA's own key is not a host key.
        assert_eq!(known.verdict("web.example", &key(ONE)), KeyVerdict::Unknown);
    }

    #[test]
    fn hashed_names_are_matched() {
        // Written by `ssh-keygen -H`.
        let hashed = format!("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {ONE}");
        let known = known(&hashed);
        assert_eq!(known.verdict("192.168.1.61", &key(ONE)), KeyVerdict::Known);
        assert_eq!(
            known.verdict("192.168.1.62", &key(ONE)),
            KeyVerdict::Unknown
        );
    }

    #[test]
    fn invalid_line_does_not_affect_others() {
        let text = format!(
            "web-1 ssh-ed25519 AAAAC3Nz\n\n# {ONE}\nweb-9\n\u{fffd} 1024 37 159\n|1|x|y {ONE}\nweb-1 {ONE}"
        );
        assert_eq!(known(&text).verdict("web-1", &key(ONE)), KeyVerdict::Known);
    }
}
