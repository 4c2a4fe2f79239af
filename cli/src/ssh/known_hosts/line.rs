//! One line of `known_hosts`, parsed as in OpenSSH's hostfile.c: bytes, separated by blanks and tabs.
//!
//! The parser of the `ssh-key` crate was not used: it accepts only one blank between fields and only UTF-8. It would
//! skip a line with a tab or with a Latin-1 comment, even one that revokes a key.

use std::fmt;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};

/// The marker of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    CertAuthority,
    Revoked,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CertAuthority => "@cert-authority",
            Self::Revoked => "@revoked",
        })
    }
}

/// A line with a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KnownHostsLine {
    pub(super) marker: Option<Marker>,
    /// Patterns separated by commas, or one hash.
    pub(super) names: Vec<u8>,
    /// For a certificate, the certified key.
    pub(super) key: KeyData,
    pub(super) is_certificate: bool,
}

impl KnownHostsLine {
    /// Parses a line without its `\n`; `None` for a line that OpenSSH skips.
    ///
    /// There is one exception: `@revoked` followed by a tab, with a blank later in the line. OpenSSH does not recognize
    /// that marker and skips the line; here it revokes the key, as its author meant.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        // As in C, the line ends at a NUL.
        let line = line.split(|&byte| byte == 0).next()?;
        let bom_less = vctl_common::foreign_file::without_mark(line);
        let (marker, rest) = if is_revocation(bom_less) {
            (Some(Marker::Revoked), word(skip(bom_less)).1)
        } else {
            marker(skip(line))?
        };
        let (names, rest) = word(rest);
        if names.is_empty() || names.starts_with(b"#") {
            return None;
        }
        let (key, is_certificate) = key_with_kind(rest)?;
        Some(Self {
            marker,
            names: names.to_owned(),
            key,
            is_certificate,
        })
    }
}

/// Parses the key of `TYPE BASE64 COMMENT`, as sshd and ssh do.
pub(crate) fn key(text: &[u8]) -> Option<KeyData> {
    let (key, is_certificate) = key_with_kind(text)?;
    (!is_certificate).then_some(key)
}

/// Returns the line for a key of a host.
pub(crate) fn line_of(host: &str, key: &KeyData) -> String {
    let key = russh::keys::PublicKey::from(key.clone());
    format!("{host} {}", key.to_openssh().unwrap_or_default())
}

fn key_with_kind(text: &[u8]) -> Option<(KeyData, bool)> {
    let (kind, rest) = word(skip(text));
    let (encoded, _) = word(rest);
    let kind = std::str::from_utf8(kind).ok()?;
    let blob = decoded(encoded)?;
    if kind.ends_with("-cert-v01@openssh.com") {
        let certificate = Certificate::from_bytes(&blob).ok()?;
        let is_of_kind = certificate.algorithm().to_certificate_type() == kind;
        return is_of_kind.then(|| (certificate.public_key().clone(), true));
    }
    let key = PublicKey::from_bytes(&blob).ok()?.key_data().clone();
    let written = key.algorithm();
    // Names of RSA signature algorithms are also accepted as key types.
    let is_of_kind = match kind {
        "rsa-sha2-256" | "rsa-sha2-512" => written.is_rsa(),
        kind => written.as_str() == kind,
    };
    is_of_kind.then_some((key, false))
}

/// Returns whether a line starts with `@revoked` and more follows.
fn is_revocation(line: &[u8]) -> bool {
    let (first, rest) = word(skip(line));
    first == b"@revoked" && !rest.is_empty()
}

/// Splits the marker from a line; `None` for an unknown marker, and for two.
fn marker(line: &[u8]) -> Option<(Option<Marker>, &[u8])> {
    if !line.starts_with(b"@") {
        return Some((None, line));
    }
    // The marker ends at the first blank, or at a tab if the line has no blank.
    let end = line.iter().position(|&byte| byte == b' ');
    let end = end.or_else(|| line.iter().position(|&byte| byte == b'\t'))?;
    let rest = skip(&line[end..]);
    (&line[..end] == b"@cert-authority" && !rest.starts_with(b"@"))
        .then_some((Some(Marker::CertAuthority), rest))
}

/// Splits at the first blank or tab, and skips the blanks after it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&byte| is_blank(byte));
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    (word, skip(rest))
}

fn skip(text: &[u8]) -> &[u8] {
    let begin = text.iter().position(|&byte| !is_blank(byte));
    &text[begin.unwrap_or(text.len())..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Decodes base64. White space is ignored, for example the `\r` of a line that ends with `\r\n`.
pub(super) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    use base64ct::{Base64, Encoding as _};
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !is_space(byte))
        .collect();
    let text = String::from_utf8(text).ok()?;
    Base64::decode_vec(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: &str = "ssh-ed25519";
    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";

    fn parsed(text: &str) -> Option<KnownHostsLine> {
        KnownHostsLine::parse(text.replace("KEY", KEY).replace("KIND", KIND).as_bytes())
    }

    #[test]
    fn blanks_and_tabs_separate_fields() {
        for text in [
            "h KIND KEY",
            "\t h\tKIND\t \tKEY\t",
            "h KIND KEY\r",
            "h KIND KEY \u{fc}\u{0}@revoked",
            "h KIND KEY\0@revoked * KIND KEY",
        ] {
            let line = parsed(text).unwrap();
            assert_eq!((line.marker, &*line.names), (None, &b"h"[..]), "{text:?}");
        }
        let latin_1 = [
            b"h ".as_slice(),
            KIND.as_bytes(),
            b" ",
            KEY.as_bytes(),
            b" b\xfcro",
        ]
        .concat();
        assert!(KnownHostsLine::parse(&latin_1).is_some());
    }

    #[test]
    fn lines_that_openssh_skips_are_skipped() {
        for text in [
            "",
            "# KIND KEY",
            "h",
            "h KIND",
            "h KEY",
            "h KIND KEYx",
            "h ssh-rsa KEY",
            "h ecdsa-sha2-nistp256 KEY",
            "h 1024 35 1234567890",
            "h KIND KEY\u{b}x",
            "@unknown h KIND KEY",
            "@cert-authority\th KIND KEY",
            "@cert-authority @revoked h KIND KEY",
            "@revoked",
            "\u{feff}@cert-authority h KIND KEY",
        ] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn revocation_counts_with_blanks_and_tabs() {
        for text in [
            "@revoked h KIND KEY",
            "@revoked\th\tKIND\tKEY",
            "  @revoked  h  KIND  KEY\r",
            "@revoked\th KIND KEY",
            "\u{feff}@revoked h KIND KEY",
        ] {
            let line = parsed(text).unwrap();
            assert_eq!(line.marker, Some(Marker::Revoked), "{text:?}");
            assert_eq!(line.names, b"h", "{text:?}");
        }
    }
}
