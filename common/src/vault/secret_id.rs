//! The secret id of an AppRole in a file: opened once if it is wrapped, then readable only by its
//! owner.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tracing::info;
use uuid::Uuid;

use super::{Vault, VaultError};
use crate::atomic_file::{Durability, NewFile, Unfinished};
use crate::centre::VaultSettings;
use crate::secret::Secret;
use crate::{file_lock, foreign_file};

#[derive(Debug, thiserror::Error)]
pub enum SecretIdError {
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open the wrapped secret id in `{}`", path.display())]
    Unwrap {
        path: PathBuf,
        #[source]
        source: VaultError,
    },
    #[error("Vault's answer has no secret id")]
    Answer,
}

/// Opens a wrapped secret id, if the file holds one, and stores the opened one in the file.
///
/// Two programs of one machine may do this at the same time: the second finds it opened.
///
/// # Errors
/// `Unwrap` with `WrapInvalid` when the wrapping token was already used: another machine may then
/// have this identity.
pub async fn open_wrapped(settings: &VaultSettings, path: &Path) -> Result<(), SecretIdError> {
    if !is_wrapped(&read(path)?) {
        return Ok(());
    }
    let _lock = lock(path)?;
    let token = read(path)?;
    if !is_wrapped(&token) {
        return Ok(());
    }
    // Vault opens a token only once: an answer that cannot be stored would be the end of the identity.
    keep(path, token.expose())?;
    let unwrapped = Vault::unwrap(settings, &token).await;
    let data = unwrapped.map_err(|source| SecretIdError::Unwrap {
        path: path.to_owned(),
        source,
    })?;
    let secret_id = data["secret_id"].as_str().ok_or(SecretIdError::Answer)?;
    keep(path, secret_id)?;
    info!(path = %path.display(), "Opened the wrapped secret id.");
    Ok(())
}

/// Returns whether this is a wrapping token: it begins with a type, and a secret id is usually a
/// UUID.
pub fn is_wrapped(secret: &Secret<String>) -> bool {
    let text = secret.expose();
    ["hvs.", "s.", "hvb.", "b."]
        .iter()
        .any(|prefix| text.starts_with(prefix))
        && Uuid::try_parse(text).is_err()
}

/// Returns the only line of the file.
pub fn read(path: &Path) -> Result<Secret<String>, SecretIdError> {
    let line = foreign_file::read_line(path).map_err(|source| SecretIdError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Secret::new(line))
}

/// Waits for another program that opens the same file. Where locks do not work, Vault decides: it
/// opens a wrapped secret id only once.
fn lock(path: &Path) -> Result<File, SecretIdError> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let lock = || {
        let dir = File::open(dir)?;
        file_lock::exclusive(&dir)?;
        Ok(dir)
    };
    lock().map_err(|source| SecretIdError::Read {
        path: dir.to_owned(),
        source,
    })
}

/// Replaces the file, or the target of a link: readers see the old secret id or the new one. The
/// owner stays the same, even if root replaces the file.
pub fn keep(path: &Path, secret_id: &str) -> Result<(), SecretIdError> {
    let write = || {
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut new = NewFile::private(Durability::Synced, Unfinished::OneName);
        if let Ok(old) = fs::metadata(&path) {
            (new.owner, new.group) = (Some(old.uid()), Some(old.gid()));
        }
        new.replace(&path, |out| writeln!(out, "{secret_id}"))
    };
    write().map_err(|source| SecretIdError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapping_token_is_told_from_a_secret_id() {
        for (text, wrapped) in [
            ("hvs.CAESIJ", true),
            ("s.2ZeqHGlLRmqsTQcXSkMn", true),
            ("84896a0c-1347-aa90-a4f6-aca8b7558780", false),
            ("chosen-by-hand", false),
        ] {
            assert_eq!(is_wrapped(&Secret::new(text.to_owned())), wrapped, "{text}");
        }
    }

    #[test]
    fn a_stored_secret_id_is_roots_alone_and_replaces_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret_id");
        fs::write(&path, "hvs.wrapped").unwrap();
        fs::write(dir.path().join(".secret_id.new"), "left over").unwrap();
        keep(&path, "84896a0c").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "84896a0c\n");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_token_whose_answer_cannot_be_stored_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret_id");
        fs::write(&path, "hvs.wrapped").unwrap();
        // In the place of the unfinished file, also root cannot write this one.
        fs::create_dir_all(dir.path().join(".secret_id.new/full")).unwrap();
        // This Vault does not exist, so a call of it would be another error.
        let settings = VaultSettings::new("https://127.0.0.1:1");
        let refused = open_wrapped(&settings, &path).await.unwrap_err();
        assert!(matches!(refused, SecretIdError::Write { .. }), "{refused}");
    }
}
