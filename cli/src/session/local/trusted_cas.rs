//! The CAs for user certificates that this host trusts. A name in its spool is proven only if one of them signed it.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use russh::keys::ssh_key::HashAlg;

use vctl_common::foreign_file::{self, Pipes};

use crate::session::model::identity::CaTrust;
use crate::ssh::key_of_line;

/// Absolute paths, because `sudo` may keep a user's `PATH`.
const SSHD: [&str; 3] = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];

/// Fingerprints of the trusted CAs, read when the first certificate needs them.
pub(crate) struct TrustedCas {
    /// Overrides the file that sshd is configured with.
    file: Option<PathBuf>,
    fingerprints: OnceCell<Result<BTreeSet<String>, String>>,
}

impl TrustedCas {
    /// Uses the keys in `file`; without it, those in the file that `sshd -T` names.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            fingerprints: OnceCell::new(),
        }
    }

    pub(super) fn trust(&self, fingerprint: &str) -> CaTrust {
        let read = || match &self.file {
            Some(file) => read(file),
            None => read_of_sshd(),
        };
        match self.fingerprints.get_or_init(read) {
            Ok(ours) if ours.contains(fingerprint) => CaTrust::Ours { mount: None },
            Ok(_) => CaTrust::Unknown,
            Err(why) => CaTrust::Unreadable(why.clone()),
        }
    }
}

fn read_of_sshd() -> Result<BTreeSet<String>, String> {
    let sshd = SSHD.iter().map(Path::new).find(|path| path.exists());
    let sshd =
        sshd.ok_or("`sshd` is not installed here; give the file with `--trusted-ca-keys FILE`")?;
    let failed = |why: &str| {
        let why = why.lines().next().unwrap_or_default();
        format!("`sshd -T` failed: {why}; give the file with `--trusted-ca-keys FILE`")
    };
    let output = Command::new(sshd)
        .arg("-T")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(&error.to_string()))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    match file_of(&String::from_utf8_lossy(&output.stdout)) {
        Some(file) => read(&file),
        None => Ok(BTreeSet::new()),
    }
}

/// Returns the file that the configuration names. `sshd -T` does not print lines under `Match`.
fn file_of(effective: &str) -> Option<PathBuf> {
    let values = effective
        .lines()
        .filter_map(|line| line.trim().split_once(char::is_whitespace));
    let mut files = values.filter(|(keyword, _)| keyword.eq_ignore_ascii_case("trustedusercakeys"));
    let (_, file) = files.next()?;
    (!file.eq_ignore_ascii_case("none")).then(|| file.trim().into())
}

fn read(file: &Path) -> Result<BTreeSet<String>, String> {
    const MOST: u64 = 16 << 20;
    let text = foreign_file::read(file, MOST, Pipes::Allowed);
    let text = text.map_err(|error| format!("`{}` cannot be read: {error}", file.display()))?;
    Ok(fingerprints(&text))
}

fn fingerprints(text: &[u8]) -> BTreeSet<String> {
    // sshd skips a line that it cannot read, so such a line adds no trusted key.
    let keys = text.split(|&byte| byte == b'\n').filter_map(key_of_line);
    keys.map(|key| key.fingerprint(HashAlg::Sha256).to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn comments_and_unreadable_lines_are_skipped() {
        let text = format!("# ours\n\nssh-ed25519 AAAA broken\n{KEY} vault\n");
        assert_eq!(fingerprints(text.as_bytes()).len(), 1);
        assert!(fingerprints(b"").is_empty());
    }

    #[test]
    fn file_is_read_from_the_effective_configuration() {
        let path = "port 22\ntrustedusercakeys /etc/ssh/vault-ca.pub\n";
        assert_eq!(file_of(path), Some("/etc/ssh/vault-ca.pub".into()));
        assert_eq!(file_of("trustedusercakeys none\n"), None);
        assert_eq!(file_of("port 22\n"), None);
    }

    #[test]
    fn unreadable_keys_differ_from_an_unknown_ca() {
        let missing = TrustedCas::new(Some("/nonexistent/keys".into()));
        assert!(matches!(missing.trust("SHA256:x"), CaTrust::Unreadable(_)));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), KEY).unwrap();
        let read = TrustedCas::new(Some(file.path().to_owned()));
        assert_eq!(read.trust("SHA256:x"), CaTrust::Unknown);
        let ours = fingerprints(KEY.as_bytes()).pop_first().unwrap();
        assert_eq!(read.trust(&ours), CaTrust::Ours { mount: None });
    }
}
