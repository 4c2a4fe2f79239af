//! The key with which this machine logs in to NATS: an nkey seed, or a credentials file of `nsc`.

use std::io;
use std::path::{Path, PathBuf};

use nkeys::{KeyPair, KeyPairType};
use vctl_common::atomic_file::{Durability, NewFile, Unfinished};
use vctl_common::foreign_file::{self, Pipes};
use vctl_common::secret::Secret;

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read the NATS key `{}` (key `nats_key_file`)", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot write the NATS key `{}` (key `nats_key_file`)", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` has neither an nkey seed of a user nor credentials of `nsc` (key `nats_key_file`)", path.display())]
    Form { path: PathBuf },
    #[error("`{}` has credentials of `nsc`: their public key is in the account's JWT", path.display())]
    Credentials { path: PathBuf },
}

/// The content of the key file.
pub(super) enum Key {
    Seed(Secret<String>),
    /// The whole text of a credentials file: a JWT and a seed.
    Credentials(Secret<String>),
}

/// Most bytes of a key file.
const MOST: u64 = 64 << 10;

pub(super) fn read(path: &Path) -> Result<Key, KeyError> {
    let unreadable = |source| KeyError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = foreign_file::read(path, MOST, Pipes::Refused).map_err(unreadable)?;
    let form = || KeyError::Form {
        path: path.to_owned(),
    };
    let text = String::from_utf8(bytes).map_err(|_| form())?;
    if text.contains("BEGIN NATS USER JWT") {
        return Ok(Key::Credentials(Secret::new(text)));
    }
    let seed = text.trim();
    match KeyPair::from_seed(seed) {
        Ok(pair) if matches!(pair.key_pair_type(), KeyPairType::User) => {
            Ok(Key::Seed(Secret::new(seed.to_owned())))
        }
        _ => Err(form()),
    }
}

/// Returns the public key of the file.
///
/// # Errors
/// The file cannot be read, or has no seed.
pub fn public_key(path: &Path) -> Result<String, KeyError> {
    match read(path)? {
        Key::Seed(seed) => match KeyPair::from_seed(seed.expose()) {
            Ok(pair) => Ok(pair.public_key()),
            Err(_) => Err(KeyError::Form {
                path: path.to_owned(),
            }),
        },
        Key::Credentials(_) => Err(KeyError::Credentials {
            path: path.to_owned(),
        }),
    }
}

/// Returns the public key of the file. Creates a key if the file does not exist.
///
/// # Errors
/// As `public_key`, and when the file cannot be written.
pub fn public_key_or_new(path: &Path) -> Result<String, KeyError> {
    match public_key(path) {
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        known => return known,
    }
    let unwritten = |source| KeyError::Write {
        path: path.to_owned(),
        source,
    };
    let pair = KeyPair::new_user();
    let seed = pair
        .seed()
        .map_err(|error| unwritten(io::Error::other(error)))?;
    NewFile::private(Durability::Synced, Unfinished::OneName)
        .replace(path, |out| out.write_all(format!("{seed}\n").as_bytes()))
        .map_err(unwritten)?;
    Ok(pair.public_key())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_key_is_private_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nats.key");
        let first = public_key_or_new(&path).unwrap();
        assert!(first.starts_with('U') && first.len() == 56, "{first}");
        assert_eq!(public_key_or_new(&path).unwrap(), first);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn other_content_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nats.key");
        let account = KeyPair::new_account().seed().unwrap();
        for text in ["", "x", &account] {
            fs::write(&path, text).unwrap();
            let error = public_key_or_new(&path).unwrap_err();
            assert!(matches!(error, KeyError::Form { .. }), "{text}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
