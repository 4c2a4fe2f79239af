//! OpenSSH's `known_hosts`: what it says of a host, and one more line in it.
//!
//! Lines are those of sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT": plain, hashed, with patterns, with
//! `@cert-authority` and `@revoked`. Which bytes are such a line [`line`] says, as OpenSSH does. A host of the inventory stands there by its name, as with
//! OpenSSH's `HostKeyAlias`: an address is used again by others, a name is not.
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

use line::Line;
pub(crate) use line::{Marker, key as key_of_line};

pub(crate) use file::{append, read};
pub(crate) use pattern::matches;

/// Where a line stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<PathBuf>,
    pub(crate) line: usize,
}

/// What is known of one key of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Known,
    Unknown,
    /// Another key is known.
    Changed(Place),
    Revoked(Place),
}

/// All lines that could be understood, of all files.
#[derive(Debug, Default)]
pub(crate) struct KnownHosts(Vec<(Place, Line)>);

impl KnownHosts {
    /// Adds the lines of a file. A line that is none is passed over, as OpenSSH does: it may be torn, or
    /// be of a kind of key from long ago.
    pub(crate) fn add(&mut self, file: &Path, text: &[u8]) {
        let file = Arc::new(file.to_owned());
        for (index, bytes) in text.split(|&byte| byte == b'\n').enumerate() {
            if let Some(line) = Line::parse(bytes) {
                let place = Place {
                    file: Arc::clone(&file),
                    line: index + 1,
                };
                self.0.push((place, line));
            }
        }
    }

    /// Says what is known of a key that a host showed.
    pub(crate) fn standing(&self, host: &str, key: &KeyData) -> Standing {
        if let Some(place) = self.revoked(host, key) {
            return Standing::Revoked(place.clone());
        }
        let mut other = None;
        for (place, line) in self.of(host).filter(|(_, line)| line.marker.is_none()) {
            if line.key == *key && !line.is_certificate {
                return Standing::Known;
            }
            other.get_or_insert(place);
        }
        // Of whatever kind the known key is: we asked for that kind first, so a server that shows
        // another no longer has it.
        match other {
            Some(place) => Standing::Changed(place.clone()),
            None => Standing::Unknown,
        }
    }

    /// Returns where a key, a host's own or that of an authority, was taken back.
    pub(crate) fn revoked<'a>(&'a self, host: &'a str, key: &KeyData) -> Option<&'a Place> {
        let mut lines = self.of(host);
        lines
            .find(|(_, line)| line.marker == Some(Marker::Revoked) && line.key == *key)
            .map(|(place, _)| place)
    }

    /// Says whether certificates of this authority are believed for a host.
    pub(crate) fn is_authority(&self, host: &str, key: &KeyData) -> bool {
        self.of(host)
            .any(|(_, line)| line.marker == Some(Marker::CertAuthority) && line.key == *key)
    }

    /// Returns the kinds of keys that are known of a host: to be asked for first, so that it shows one
    /// that can be compared.
    pub(crate) fn algorithms(&self, host: &str) -> Vec<Algorithm> {
        let plain = self
            .of(host)
            .filter(|(_, line)| line.marker.is_none() && !line.is_certificate);
        plain
            .flat_map(|(_, line)| signature_algorithms(line.key.algorithm()))
            .collect()
    }

    /// Returns every key a host is known by, or not to be known by.
    pub(crate) fn about<'a>(
        &'a self,
        host: &'a str,
    ) -> impl Iterator<Item = (Option<Marker>, &'a KeyData)> {
        let lines = self.of(host).map(|(_, line)| line);
        // A certificate as a host's own key says nothing of its key; as a revoked one it does.
        let lines =
            lines.filter(|line| !line.is_certificate || line.marker == Some(Marker::Revoked));
        lines.map(|line| (line.marker, &line.key))
    }

    fn of<'a>(&'a self, host: &'a str) -> impl Iterator<Item = (&'a Place, &'a Line)> {
        let lines = self.0.iter().map(|(place, line)| (place, line));
        lines.filter(move |(_, line)| pattern::names(&line.names, host))
    }
}

/// An RSA key signs in ways of different names.
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

    fn line_of(standing: &Standing) -> Option<usize> {
        match standing {
            Standing::Changed(place) | Standing::Revoked(place) => Some(place.line),
            _ => None,
        }
    }

    #[test]
    fn a_host_is_known_by_its_name_alone() {
        let known = known(&format!("web-1 {ONE}\nweb-2 {OTHER} a comment\n"));
        assert_eq!(known.standing("web-1", &key(ONE)), Standing::Known);
        assert_eq!(known.standing("web-2", &key(OTHER)), Standing::Known);
        assert_eq!(known.standing("web-3", &key(ONE)), Standing::Unknown);
        let changed = known.standing("web-2", &key(ONE));
        assert!(matches!(changed, Standing::Changed(_)), "{changed:?}");
        assert_eq!(line_of(&changed), Some(2));
    }

    #[test]
    fn a_key_of_another_kind_than_the_known_one_is_no_unknown_host() {
        let known = known(&format!("web-1 {ECDSA}\n"));
        let standing = known.standing("web-1", &key(ONE));
        assert!(matches!(standing, Standing::Changed(_)), "{standing:?}");
        let asked_for = known.algorithms("web-1");
        assert_eq!(asked_for, [key(ECDSA).algorithm()]);
        assert!(known.algorithms("web-2").is_empty());
    }

    #[test]
    fn a_revoked_key_is_refused_also_where_it_is_known() {
        let known = known(&format!("web-1 {ONE}\n@revoked * {ONE}\n"));
        let standing = known.standing("web-1", &key(ONE));
        assert!(matches!(standing, Standing::Revoked(_)), "{standing:?}");
        assert_eq!(line_of(&standing), Some(2));
    }

    #[test]
    fn an_authority_is_one_for_the_hosts_it_stands_beside() {
        let known = known(&format!("@cert-authority *.example,!bad.example {ONE}\n"));
        assert!(known.is_authority("web.example", &key(ONE)));
        assert!(!known.is_authority("bad.example", &key(ONE)));
        assert!(!known.is_authority("web.example", &key(OTHER)));
        // Its own key is no host's.
        assert_eq!(known.standing("web.example", &key(ONE)), Standing::Unknown);
    }

    #[test]
    fn hashed_names_are_found() {
        // Written by `ssh-keygen -H`.
        let hashed = format!("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= {ONE}");
        let known = known(&hashed);
        assert_eq!(known.standing("192.168.1.61", &key(ONE)), Standing::Known);
        assert_eq!(known.standing("192.168.1.62", &key(ONE)), Standing::Unknown);
    }

    #[test]
    fn a_torn_or_strange_line_takes_nothing_from_the_others() {
        let text = format!(
            "web-1 ssh-ed25519 AAAAC3Nz\n\n# {ONE}\nweb-9\n\u{fffd} 1024 37 159\n|1|x|y {ONE}\nweb-1 {ONE}"
        );
        assert_eq!(known(&text).standing("web-1", &key(ONE)), Standing::Known);
    }
}
