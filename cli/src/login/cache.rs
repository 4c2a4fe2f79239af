//! The token that the last login got, kept for the next command.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use tokio::time::sleep;
use vctl_common::file_lock::{self, Tried};
use vctl_common::secret::Secret;
use vctl_common::vault::Granted;

use super::life::Life;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::private_file::ReadError;
use crate::files::state_dir::StateDir;
use crate::ui::ask::Interaction;
use crate::ui::notice;

const FILE: &str = "token";

/// How often it is looked whether the lock is free; a renewal takes some tens of milliseconds.
const LOOK: Duration = Duration::from_millis(20);
const TELL_AFTER: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a token is one, and nowhere else: the server that gave it, and the namespace there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) addr: String,
    pub(crate) namespace: Option<String>,
}

impl Binding {
    pub(crate) fn new(addr: &str, namespace: Option<&str>) -> Self {
        let namespace = namespace.map(|name| name.trim_matches('/').to_owned());
        Self {
            addr: addr.trim_end_matches('/').to_ascii_lowercase(),
            namespace: namespace.filter(|name| !name.is_empty()),
        }
    }
}

/// A token and what is known of it without asking.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CachedToken {
    #[serde(flatten)]
    binding: Binding,
    #[serde(serialize_with = "exposed")]
    pub(crate) token: Secret<String>,
    /// Names it without being it.
    pub(crate) accessor: String,
    #[serde(flatten)]
    pub(crate) life: Life,
    /// How it was got, by the name of `--method`.
    pub(crate) method: String,
    /// Whose it is, by Vault's display name: `oidc-albert`.
    #[serde(default)]
    pub(crate) display_name: String,
}

/// The one place where a secret is written out: into a file of its owner's.
fn exposed<S: Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

impl CachedToken {
    pub(crate) fn new(
        binding: Binding,
        method: &str,
        granted: &Granted,
        display_name: &str,
        asked: Timestamp,
    ) -> Self {
        Self {
            binding,
            token: granted.token.clone(),
            accessor: granted.accessor.clone(),
            life: Life::granted(asked, granted.ttl, granted.renewable),
            method: method.to_owned(),
            display_name: display_name.to_owned(),
        }
    }

    pub(crate) fn is_for(&self, binding: &Binding) -> bool {
        self.binding == *binding
    }

    /// Says where it is a token, for people.
    pub(crate) fn addr(&self) -> &str {
        &self.binding.addr
    }
}

/// The file of the token.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    dir: StateDir,
    path: PathBuf,
    lock: PathBuf,
    /// The token of this process, where it could not be written.
    unwritten: Arc<Mutex<Option<CachedToken>>>,
}

impl Cache {
    pub(crate) fn in_dir(dir: &StateDir) -> Self {
        Self {
            dir: dir.clone(),
            path: dir.file(FILE),
            lock: dir.file("token.lock"),
            unwritten: Arc::default(),
        }
    }

    /// Returns what is there. A file that makes no sense counts as none: the next login replaces it.
    ///
    /// # Errors
    /// It is not a file of our own that nobody else can write: whoever wrote it would decide as whom
    /// we act.
    pub(crate) fn read(&self) -> Result<Option<CachedToken>, CliError> {
        if let Some(token) = &*self.unwritten() {
            return Ok(Some(token.clone()));
        }
        match private_file::read(&self.path) {
            Ok(text) => Ok(serde_json::from_slice(text.expose()).ok()),
            Err(ReadError::Absent) => Ok(None),
            // A home whose disk or server fails has no token for us.
            Err(ReadError::Io(error)) => {
                let path = self.path.display();
                notice::note_once(&format!("cannot read the token in `{path}`: {error}"));
                Ok(None)
            }
            Err(error) => Err(self.unusable(&error)),
        }
    }

    /// Keeps a token for the next command, or where no file can be written for this one alone, which is said.
    pub(crate) fn keep(&self, token: &CachedToken) {
        match self.write(token) {
            Ok(()) => {}
            Err(error) => {
                let mut why = error.message;
                for cause in &error.causes {
                    why = format!("{why}: {cause}");
                }
                notice::note_once(&format!("this login is for this command alone: {why}"));
                *self.unwritten() = Some(token.clone());
            }
        }
    }

    fn unwritten(&self) -> MutexGuard<'_, Option<CachedToken>> {
        self.unwritten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, token: &CachedToken) -> Result<(), CliError> {
        self.dir.make()?;
        let written = private_file::replace(&self.path, |out| {
            serde_json::to_writer_pretty(&mut *out, token)?;
            out.write_all(b"\n")
        });
        written.map_err(|error| {
            let message = format!("cannot keep the token in `{}`", self.path.display());
            CliError::new(Exit::Failure, message).caused_by(&error)
        })?;
        *self.unwritten() = None;
        Ok(())
    }

    /// Takes the token away, and returns whether there was a file.
    pub(crate) fn remove(&self) -> Result<bool, CliError> {
        let had = self.unwritten().take().is_some();
        Ok(private_file::remove(&self.path)? || had)
    }

    /// Waits until nobody else of this person renews or logs in, and keeps others waiting until the
    /// lock is dropped. Ten commands started at once then ask for one login, not for ten.
    ///
    /// Where there is no file to lock, or the file system has no locks, nothing is waited for: the file of the
    /// token is replaced whole, so two logins at once leave one of two good tokens.
    ///
    /// # Errors
    /// `TryAgain` when somebody else is at it for longer than a server takes to answer: a person, most
    /// likely, in front of a browser, for whom a job should not wait.
    pub(crate) async fn lock(&self, interaction: Interaction) -> Result<Lock, CliError> {
        let file = match self.lock_file() {
            Ok(file) => file,
            Err(error) => {
                tracing::debug!(error = %error.message, "There is no lock of the token.");
                return Ok(Lock(None));
            }
        };
        let since = Instant::now();
        let mut told = false;
        loop {
            match file_lock::try_exclusive(&file).map_err(|error| self.not_lockable(&error))? {
                Tried::Taken => return Ok(Lock(Some(file))),
                Tried::Unsupported => return Ok(Lock(None)),
                Tried::Busy => {}
            }
            if interaction == Interaction::Never && since.elapsed() > PATIENCE {
                let error = CliError::new(Exit::TryAgain, "another vctl is logging in");
                return Err(error.hint("finish that login, or end it"));
            }
            if !told && since.elapsed() > TELL_AFTER {
                told = true;
                notice::note("waiting for another vctl that is logging in");
            }
            sleep(LOOK).await;
        }
    }

    /// Says why no token can be kept, before a person logs in for one.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.lock_file().map(drop)
    }

    fn lock_file(&self) -> Result<File, CliError> {
        self.dir.make()?;
        private_file::open_lock(&self.lock).map_err(|error| self.not_lockable(&error))
    }

    fn not_lockable(&self, error: &io::Error) -> CliError {
        let message = format!("cannot lock `{}`", self.lock.display());
        CliError::new(Exit::Failure, message).caused_by(error)
    }

    fn unusable(&self, error: &ReadError) -> CliError {
        let message = format!("cannot use the token in `{}`", self.path.display());
        CliError::new(Exit::Config, message)
            .caused_by(error)
            .hint("if the file is not yours, remove it; then run `vctl login`")
    }
}

/// Held while the token is replaced.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing it unlocks")] Option<File>);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn token(addr: &str) -> CachedToken {
        let granted = Granted {
            token: Secret::new("hvs.CAESIJ".to_owned()),
            accessor: "accessor".to_owned(),
            ttl: Some(Duration::from_hours(1)),
            renewable: true,
            policies: Vec::new(),
            meta: BTreeMap::default(),
        };
        let now = Timestamp::UNIX_EPOCH;
        CachedToken::new(
            Binding::new(addr, None),
            "oidc",
            &granted,
            "oidc-albert",
            now,
        )
    }

    fn cache(dir: &tempfile::TempDir) -> Cache {
        Cache::in_dir(&StateDir::at(dir.path()))
    }

    #[test]
    fn what_was_kept_is_read_back_and_never_printed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        assert!(cache.read().unwrap().is_none());
        let kept = token("https://vault.example:8200");
        cache.write(&kept).unwrap();
        let read = cache.read().unwrap().unwrap();
        assert_eq!(read.token.expose(), "hvs.CAESIJ");
        assert_eq!(
            (read.life, read.accessor),
            (kept.life.clone(), kept.accessor.clone())
        );
        assert!(!format!("{kept:?}").contains("CAESIJ"));
        assert!(cache.remove().unwrap());
        assert!(!cache.remove().unwrap());
    }

    #[test]
    fn a_token_is_one_where_it_was_got_and_nowhere_else() {
        let token = token("https://vault.example:8200");
        for (addr, namespace, is_for) in [
            ("https://vault.example:8200", None, true),
            ("https://Vault.example:8200/", None, true),
            ("https://vault.example:8200", Some(""), true),
            ("https://vault.example:8200", Some("team"), false),
            ("https://vault.example", None, false),
            ("http://vault.example:8200", None, false),
            ("https://vault.example:8200.evil.example", None, false),
            ("https://vault.example:8200@evil.example", None, false),
        ] {
            let binding = Binding::new(addr, namespace);
            assert_eq!(token.is_for(&binding), is_for, "{addr} {namespace:?}");
        }
    }

    #[test]
    fn a_torn_file_is_none_and_the_next_login_replaces_it() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        for text in ["", "{", "{\"token\":1}", "\u{0}\u{0}"] {
            private_file::replace(&cache.path, |out| out.write_all(text.as_bytes())).unwrap();
            assert!(cache.read().unwrap().is_none());
        }
        cache.write(&token("https://vault.example")).unwrap();
        assert!(cache.read().unwrap().is_some());
    }
}
