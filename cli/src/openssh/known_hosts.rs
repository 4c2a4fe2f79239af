//! What `ssh` is told of the keys of a host: the answer to its `KnownHostsCommand`.

use std::io::{self, Write};

use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;

use super::quote;
use crate::ssh::KnownHosts;
use crate::ssh_ca::Authority;

/// Why `ssh` asks: its token `%I`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Occasion {
    /// Before the key exchange: which kinds of keys are known
    #[value(name = "ORDER")]
    Order,
    /// The host showed its key: is it known by the name
    #[value(name = "HOSTNAME")]
    Hostname,
    /// Is it known by the address
    #[value(name = "ADDRESS")]
    Address,
}

/// Writes the lines of a host: what is known of it here, and whose certificates are to be believed.
///
/// Each is about this host alone, whatever pattern it was found by.
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
    // Without its comment, which anybody may have written.
    let key = PublicKey::from(key.clone()).to_openssh();
    writeln!(out, "{names} {}", key.map_err(io::Error::other)?)
}

/// Takes the name of a host.
///
/// # Errors
/// It could be more than a name in a line of `known_hosts`.
pub(crate) fn name(text: &str) -> Result<String, String> {
    if quote::is_name(text) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("it is no name of a host".to_owned())
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
    fn every_line_is_about_this_host_alone() {
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
