//! One line of `known_hosts`, as OpenSSH's hostfile.c takes it apart: bytes, and blanks and tabs between them.
//!
//! The `ssh-key` crate has a parser of such lines. It takes one blank between two fields and nothing but UTF-8, so
//! with it a line with a tab, or with a comment in Latin-1, was none: also one that revokes a key.

use std::fmt;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};

/// What a line says of its key.
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

/// A line that is about a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) marker: Option<Marker>,
    /// Patterns with commas between them, or one hash.
    pub(super) names: Vec<u8>,
    /// Of a certificate, the key that it certifies.
    pub(super) key: KeyData,
    pub(super) is_certificate: bool,
}

impl Line {
    /// Returns what a line says, without its `\n`; nothing where OpenSSH passes over it.
    ///
    /// One line more is honoured: `@revoked` with a tab behind it and a blank later. OpenSSH takes its marker for
    /// another one and passes over it, which is not what its author meant.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        // OpenSSH works on a string of C: the line ends at a NUL.
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

/// Returns the key of `TYPE BASE64 COMMENT`, as sshd and ssh read it.
pub(crate) fn key(text: &[u8]) -> Option<KeyData> {
    let (key, is_certificate) = key_with_kind(text)?;
    (!is_certificate).then_some(key)
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
    // Names of signatures of RSA also name its keys.
    let is_of_kind = match kind {
        "rsa-sha2-256" | "rsa-sha2-512" => written.is_rsa(),
        kind => written.as_str() == kind,
    };
    is_of_kind.then_some((key, false))
}

/// Says whether a line begins with `@revoked` and something that ends it.
fn is_revocation(line: &[u8]) -> bool {
    let (first, rest) = word(skip(line));
    first == b"@revoked" && !rest.is_empty()
}

/// Returns the marker that a line begins with, and what follows. Nothing for an unknown one, and for two.
fn marker(line: &[u8]) -> Option<(Option<Marker>, &[u8])> {
    if !line.starts_with(b"@") {
        return Some((None, line));
    }
    // Up to the first blank; up to a tab only where the line has no blank.
    let end = line.iter().position(|&byte| byte == b' ');
    let end = end.or_else(|| line.iter().position(|&byte| byte == b'\t'))?;
    let rest = skip(&line[end..]);
    (&line[..end] == b"@cert-authority" && !rest.starts_with(b"@"))
        .then_some((Some(Marker::CertAuthority), rest))
}

/// Returns the bytes up to a blank or a tab, and what follows those.
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

/// Returns what base64 stands for. White space in it does not count, as of a line that ends with `\r\n`.
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

    fn parsed(text: &str) -> Option<Line> {
        Line::parse(text.replace("KEY", KEY).replace("KIND", KIND).as_bytes())
    }

    #[test]
    fn blanks_and_tabs_part_fields_and_the_rest_is_a_comment() {
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
        assert!(Line::parse(&latin_1).is_some());
    }

    #[test]
    fn a_line_that_openssh_passes_over_is_none() {
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
    fn a_revocation_counts_whatever_parts_its_fields() {
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
