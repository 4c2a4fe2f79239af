//! Temporary SSH certificate authorities and the certificates that they sign, made with ssh-keygen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// An SSH certificate authority for users.
#[derive(Clone, Debug)]
pub struct Authority {
    key: PathBuf,
}

/// A key pair with its certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub key_id: String,
    pub serial: u64,
    /// Private key. A plain key pair has no certificate in the same directory.
    pub key: PathBuf,
    pub certificate: Option<PathBuf>,
}

/// Contents of a certificate.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub key_id: &'a str,
    pub serial: u64,
    pub principals: &'a str,
    /// Options for `-O` of ssh-keygen: `force-command=...`.
    pub options: &'a [&'a str],
}

impl Authority {
    pub(super) fn create(keys: &Path, name: &str) -> Result<Self> {
        let key = keys.join(name);
        key_pair(&key, name)?;
        Ok(Self { key })
    }

    /// Returns the line that makes sshd trust this authority.
    pub fn public_line(&self) -> Result<String> {
        Ok(fs::read_to_string(self.key.with_extension("pub"))?)
    }

    /// Signs a certificate for a new key in `keys`.
    pub(super) fn sign(&self, keys: &Path, subject: Subject<'_>) -> Result<Certificate> {
        let number = fs::read_dir(keys)?.count();
        let key = keys.join(format!("{number}-{}", subject.serial));
        key_pair(&key, subject.key_id)?;
        let mut command = Command::new("ssh-keygen");
        // The validity begins in the past, because a lab may step the clock.
        command.args([
            "-q",
            "-V",
            "-1d:+1d",
            "-I",
            subject.key_id,
            "-n",
            subject.principals,
        ]);
        command
            .args(["-z", &subject.serial.to_string(), "-s"])
            .arg(&self.key);
        for option in subject.options {
            command.args(["-O", option]);
        }
        run(command.arg(key.with_extension("pub")))?;
        let file = format!("{}-cert.pub", key.display());
        Ok(Certificate {
            key_id: subject.key_id.to_owned(),
            serial: subject.serial,
            key,
            certificate: Some(file.into()),
        })
    }
}

/// Makes a key pair at `key`. Writes the certificate that `sign` makes of the public key into the same directory.
pub(super) fn signed_by(
    key: &Path,
    key_id: &str,
    sign: impl FnOnce(&str) -> Result<(String, u64)>,
) -> Result<Certificate> {
    key_pair(key, key_id)?;
    let (text, serial) = sign(&fs::read_to_string(key.with_extension("pub"))?)?;
    let certificate = PathBuf::from(format!("{}-cert.pub", key.display()));
    fs::write(&certificate, text)?;
    Ok(Certificate {
        key_id: key_id.to_owned(),
        serial,
        key: key.to_owned(),
        certificate: Some(certificate),
    })
}

/// Makes an ed25519 key pair without a passphrase.
pub(crate) fn key_pair(path: &Path, comment: &str) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]);
    run(command.arg(path))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot run `ssh-keygen`")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} failed: {}", said.trim());
    }
    Ok(())
}
