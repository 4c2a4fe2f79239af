//! The answer to `KnownHostsCommand` of `ssh`: the keys of a host.

use std::io::{self, Write};

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

use super::quote;
use crate::ssh::KnownHosts;
use crate::ssh_ca::Authority;

/// The reason for the query: the token `%I` of `ssh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KnownHostsQuery {
    /// Before the key exchange, to order the key types
    #[value(name = "ORDER")]
    Order,
    /// The host showed its key: look it up by name
    #[value(name = "HOSTNAME")]
    Hostname,
    /// Look it up by address
    #[value(name = "ADDRESS")]
    Address,
}

/// Writes the lines of a host: its known keys, and the CAs that are trusted for its certificates.
///
/// Each line names only this host, whatever pattern matched.
pub(crate) fn write(
    out: &mut impl Write,
    host: &str,
    known: &KnownHosts,
    authorities: &[Authority],
) -> io::Result<()> {
    for (marker, key) in known.about(host) {
        let marker = marker
            .map(|marker| format!("{marker} "))
            .unwrap_or_default();
        line(out, &format!("{marker}{host}"), key)?;
    }
    for authority in authorities {
        writeln!(out, "@cert-authority {host} {}", authority.line())?;
    }
    Ok(())
}

fn line(out: &mut impl Write, names: &str, key: &KeyData) -> io::Result<()> {
    // Without the comment, which may come from anywhere.
    let key = PublicKey::from(key.clone()).to_openssh();
    writeln!(out, "{names} {}", key.map_err(io::Error::other)?)
}

/// Returns whether a type of host key, as OpenSSH writes it, is that of a certificate.
pub(crate) fn is_certificate(key_type: &str) -> bool {
    key_type.contains("-cert-v")
}

/// Parses the name of a host.
///
/// # Errors
/// The text could be more than a name in a `known_hosts` line.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if quote::is_name(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("not a host name".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const ONE: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn only_a_certificate_has_the_type_of_one() {
        for (key_type, expected) in [
            ("ssh-ed25519-cert-v01@openssh.com", true),
            ("sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", true),
            ("ssh-ed25519", false),
            ("sk-ssh-ed25519@openssh.com", false),
            ("NONE", false),
        ] {
            assert_eq!(is_certificate(key_type), expected, "{key_type}");
        }
    }

    #[test]
    fn every_line_names_only_this_host() {
        let mut known = KnownHosts::default();
        let text = format!("web-*,db-1 {ONE} a comment\n@revoked * {OTHER}\nweb-2 {OTHER}\n");
        known.add(Path::new("known_hosts"), text.as_bytes());
        let authority = Authority::read("ssh", OTHER).unwrap();
        let mut out = Vec::new();
        write(&mut out, "web-1", &known, &[authority]).unwrap();
        let expected =
            format!("web-1 {ONE}\n@revoked web-1 {OTHER}\n@cert-authority web-1 {OTHER}\n");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
