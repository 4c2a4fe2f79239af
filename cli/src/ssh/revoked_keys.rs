//! Keys that `RevokedHostKeys` of ssh_config(5) refuses: lines of public keys, or a key revocation list (KRL).
//!
//! As in OpenSSH, a file that cannot be read or understood refuses every key. A KRL is read by `ssh-keygen -Q`: it is
//! OpenSSH's own binary format, and a second reader of it could accept a key that OpenSSH refuses.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use russh::keys::{Certificate, PublicKeyOrCertificate};
use vctl_common::foreign_file::{self, Pipes};

use super::known_hosts::key_of_line;

/// A limit against a device; a KRL of a million keys has 20 MB.
const MOST: u64 = 256 << 20;

const KRL: &[u8] = b"SSHKRL\n\0";

/// Says whether a file revokes what a host showed: its key, or its certificate or the CA that signed it.
///
/// # Errors
/// The file cannot be read or understood.
pub(super) fn revokes(file: &Path, shown: &PublicKeyOrCertificate) -> Result<bool, String> {
    let text = foreign_file::read(file, MOST, Pipes::Refused).map_err(|error| error.to_string())?;
    if text.starts_with(KRL) {
        return is_in_krl(file, shown);
    }
    let key = shown.public_key();
    let authority = shown.certificate().map(Certificate::signature_key);
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let start = line.iter().position(|byte| !b" \t".contains(byte));
        let line = &line[start.unwrap_or(line.len())..];
        if matches!(line.first(), None | Some(b'#' | 0)) {
            continue;
        }
        let revoked = key_of_line(line);
        let revoked = revoked.ok_or_else(|| format!("line {} is not a key", index + 1))?;
        if revoked == *key.key_data() || authority.is_some_and(|authority| revoked == *authority) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_in_krl(file: &Path, shown: &PublicKeyOrCertificate) -> Result<bool, String> {
    let text = match shown.certificate() {
        Some(certificate) => certificate.to_openssh(),
        None => shown.public_key().to_openssh(),
    };
    let text = text.map_err(|error| error.to_string())?;
    let cannot = |error| format!("cannot run `ssh-keygen -Q`: {error}");
    let mut child = Command::new("ssh-keygen")
        .arg("-Qf")
        .arg(file)
        .arg("/dev/stdin")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ended early says why.
        let _ = stdin.write_all(format!("{text}\n").as_bytes());
    }
    let output = child.wait_with_output().map_err(cannot)?;
    match output.status.code() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}
