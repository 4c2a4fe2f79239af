//! The cached token of the last login.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use vctl_common::file_lock::{self, Tried};
use vctl_common::secret::Secret;
use vctl_common::vault::Granted;

use super::db_login_file;
use super::life::TokenLifetime;
use super::unfinished;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::private_file::ReadError;
use crate::files::state_dir::StateDir;
use crate::ui::ask::Interaction;
use crate::ui::notice;

const FILE: &str = "token";

/// Interval to try the lock. A renewal takes some tens of milliseconds.
const LOCK_INTERVAL: Duration = Duration::from_millis(20);
const NOTE_AFTER: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(20);
/// Wait for the lock of a process that can continue without it. Another process usually holds it for a short request.
pub(crate) const LOCK_WAIT: Duration = Duration::from_secs(5);

/// The only place where a token is valid: its server and namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VaultScope {
    pub(crate) addr: String,
    pub(crate) namespace: Option<String>,
}

impl VaultScope {
    pub(crate) fn new(addr: &str, namespace: Option<&str>) -> Self {
        let namespace = namespace.map(|name| name.trim_matches('/').to_owned());
        Self {
            addr: addr.trim_end_matches('/').to_ascii_lowercase(),
            namespace: namespace.filter(|name| !name.is_empty()),
        }
    }
}

/// A token and its properties, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CachedToken {
    #[serde(flatten)]
    binding: VaultScope,
    #[serde(serialize_with = "private_file::exposed")]
    pub(crate) token: Secret<String>,
    /// Accessor of the token, which does not grant access.
    pub(crate) accessor: String,
    #[serde(flatten)]
    pub(crate) life: TokenLifetime,
    /// Login method, by its name in `--method`.
    pub(crate) method: String,
    /// Display name in Vault, such as `oidc-albert`.
    #[serde(default)]
    pub(crate) display_name: String,
}

impl CachedToken {
    pub(crate) fn new(
        binding: VaultScope,
        method: &str,
        granted: &Granted,
        display_name: &str,
        asked: Timestamp,
    ) -> Self {
        Self {
            binding,
            token: granted.token.clone(),
            accessor: granted.accessor.clone(),
            life: TokenLifetime::granted(asked, granted.ttl, granted.renewable),
            method: method.to_owned(),
            display_name: display_name.to_owned(),
        }
    }

    pub(crate) fn is_for(&self, binding: &VaultScope) -> bool {
        self.binding == *binding
    }

    /// Returns the address of the token's server.
    pub(crate) fn addr(&self) -> &str {
        &self.binding.addr
    }

    /// Returns server and namespace.
    pub(super) fn scope(&self) -> (&str, Option<&str>) {
        (&self.binding.addr, self.binding.namespace.as_deref())
    }
}

/// A valid token, and its origin.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    /// From `VAULT_TOKEN`. vctl does not renew or revoke it.
    FromEnv(Secret<String>),
    Cached(Box<CachedToken>),
}

impl Token {
    pub(crate) fn value(&self) -> &Secret<String> {
        match self {
            Self::FromEnv(token) => token,
            Self::Cached(token) => &token.token,
        }
    }

    /// Returns the token if it is cached.
    pub(super) fn cached(&self) -> Option<&CachedToken> {
        match self {
            Self::FromEnv(_) => None,
            Self::Cached(token) => Some(token),
        }
    }
}

/// The reason why the file of the token has no usable token.
#[derive(Debug, thiserror::Error)]
enum TokenFileError {
    #[error(transparent)]
    Unreadable(ReadError),
    #[error("the file does not contain a token of vctl")]
    Damaged,
}

/// The file of the token.
#[derive(Clone, Debug)]
pub(crate) struct TokenCache {
    dir: StateDir,
    path: PathBuf,
    lock: PathBuf,
    /// Token of this process, if the file could not be written.
    unwritten: Arc<Mutex<Option<CachedToken>>>,
}

impl TokenCache {
    pub(crate) fn in_dir(dir: &StateDir) -> Self {
        Self {
            dir: dir.clone(),
            path: dir.file(FILE),
            lock: dir.file("token.lock"),
            unwritten: Arc::default(),
        }
    }

    /// Returns the cached token. A damaged file counts as missing, and the next login replaces it.
    ///
    /// # Errors
    /// The file belongs to another user, or another user can write it: that user would decide who vctl
    /// acts as.
    pub(crate) fn read(&self) -> Result<Option<CachedToken>, CliError> {
        if let Some(token) = &*self.unwritten() {
            return Ok(Some(token.clone()));
        }
        match self.read_file() {
            Ok(token) => Ok(token),
            Err(TokenFileError::Damaged) => Ok(None),
            // A read error of the disk or file server counts as a missing token.
            Err(TokenFileError::Unreadable(ReadError::Io(error))) => {
                let path = self.path.display();
                notice::note_once(&format!("cannot read the token in `{path}`: {error}"));
                Ok(None)
            }
            Err(TokenFileError::Unreadable(error)) => Err(self.unusable(&error)),
        }
    }

    /// Like [`read`](Self::read), but a damaged or unreadable file is an error: its token cannot be revoked.
    pub(crate) fn read_to_revoke(&self) -> Result<Option<CachedToken>, CliError> {
        if let Some(token) = &*self.unwritten() {
            return Ok(Some(token.clone()));
        }
        self.read_file().map_err(|error| {
            let message = format!("the token in `{}` could not be read", self.path.display());
            CliError::new(Exit::Failure, message).caused_by(&error)
        })
    }

    fn read_file(&self) -> Result<Option<CachedToken>, TokenFileError> {
        match private_file::read(&self.path) {
            Ok(text) => match serde_json::from_slice(text.expose()) {
                Ok(token) => Ok(Some(token)),
                // The error of the parser could quote the token.
                Err(_) => Err(TokenFileError::Damaged),
            },
            Err(ReadError::Absent) => Ok(None),
            Err(error) => Err(TokenFileError::Unreadable(error)),
        }
    }

    /// Replaces the cached token by the same one with another lifetime. A token that was removed or replaced meanwhile stays
    /// so.
    pub(super) fn update(&self, token: &CachedToken, _lock: &TokenLock) -> Result<(), CliError> {
        let is_it = |cached: &CachedToken| {
            cached.binding == token.binding && cached.token.expose() == token.token.expose()
        };
        if self.read()?.as_ref().is_some_and(is_it) {
            self.write_or_note(token);
        }
        Ok(())
    }

    /// Caches a token for the next command. If the file cannot be written, prints a note and uses the token for this
    /// command only.
    pub(crate) fn write_or_note(&self, token: &CachedToken) {
        match self.write(token) {
            Ok(()) => {}
            Err(error) => {
                let reason = error.one_line();
                notice::note_once(&format!(
                    "the token is used for this command only: {reason}"
                ));
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
            let message = format!("cannot write the token to `{}`", self.path.display());
            CliError::new(Exit::Failure, message).caused_by(&error)
        })?;
        *self.unwritten() = None;
        // Afterwards: a command that stores a login checks the token after that.
        db_login_file::remove_all_but(&self.dir, Some(&token.accessor));
        unfinished::remove_abandoned(&self.dir);
        Ok(())
    }

    /// Removes the token and its database logins, and returns whether there was a token. The caller has the lock:
    /// another process may be about to write the token again.
    pub(crate) fn remove(&self) -> Result<bool, CliError> {
        let had = self.unwritten().take().is_some();
        let removed = private_file::remove(&self.path);
        db_login_file::remove_all_but(&self.dir, None);
        unfinished::remove_of_login(&self.dir);
        unfinished::remove_abandoned(&self.dir);
        Ok(removed? || had)
    }

    /// Removes the cached token if it is this one, and not the token of a newer login.
    pub(crate) fn remove_only(&self, token: &Secret<String>) -> Result<bool, CliError> {
        let is_it = |cached: &CachedToken| cached.token.expose() == token.expose();
        // Without a file of its own: the file may have the token of another login.
        if self.unwritten().take_if(|cached| is_it(cached)).is_some() {
            return Ok(true);
        }
        if !self.read()?.as_ref().is_some_and(is_it) {
            return Ok(false);
        }
        self.remove()
    }

    /// Takes the lock for renewals and logins of this user; other processes wait until it is dropped. So ten
    /// commands that start at the same time cause one login, not ten.
    ///
    /// Does not wait if there is no lock file, or if the file system does not support locks. The file of the
    /// token is replaced atomically, so two concurrent logins leave one of two valid tokens.
    ///
    /// # Errors
    /// `TryAgain` when another process holds the lock for longer than a server needs to answer. It is probably a
    /// user in front of a browser, and a job must not wait for that.
    pub(crate) async fn lock(&self, interaction: Interaction) -> Result<TokenLock, CliError> {
        let file = match self.lock_file() {
            Ok(file) => file,
            Err(error) => {
                tracing::debug!(error = %error.one_line(), "The token cannot be locked.");
                return Ok(TokenLock(None));
            }
        };
        let since = Instant::now();
        let mut noted = false;
        loop {
            match file_lock::try_exclusive(&file).map_err(|error| self.not_lockable(&error))? {
                Tried::Taken => return Ok(TokenLock(Some(file))),
                Tried::Unsupported => return Ok(TokenLock(None)),
                Tried::Busy => {}
            }
            if interaction != Interaction::Allowed && since.elapsed() > PATIENCE {
                let error = CliError::new(Exit::TryAgain, "another vctl is logging in");
                return Err(error.hint("finish or stop that login"));
            }
            if !noted && since.elapsed() > NOTE_AFTER {
                noted = true;
                notice::note("waiting for another vctl to finish its login");
            }
            sleep(LOCK_INTERVAL).await;
        }
    }

    /// Takes the lock if it is free within this time. Returns `None` if another process keeps it.
    pub(crate) async fn lock_within(&self, limit: Duration) -> Option<TokenLock> {
        let Ok(file) = self.lock_file() else {
            return Some(TokenLock(None));
        };
        let since = Instant::now();
        loop {
            match file_lock::try_exclusive(&file) {
                Ok(Tried::Taken) => return Some(TokenLock(Some(file))),
                Ok(Tried::Unsupported) | Err(_) => return Some(TokenLock(None)),
                Ok(Tried::Busy) if since.elapsed() >= limit => return None,
                Ok(Tried::Busy) => sleep(LOCK_INTERVAL).await,
            }
        }
    }

    /// Checks before a login that a token can be stored.
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
            .hint("if the file does not belong to you, remove it; then run `vctl login`")
    }
}

/// The lock, held while the token is replaced.
#[derive(Debug)]
pub(crate) struct TokenLock(#[expect(dead_code, reason = "closing it unlocks")] Option<File>);

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
            VaultScope::new(addr, None),
            "oidc",
            &granted,
            "oidc-albert",
            now,
        )
    }

    fn cache(dir: &tempfile::TempDir) -> TokenCache {
        TokenCache::in_dir(&StateDir::at(dir.path()))
    }

    #[test]
    fn a_cached_token_is_read_back_and_never_printed() {
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
    fn the_token_of_a_newer_login_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = cache(&dir);
        cache.write(&token("https://vault.example")).unwrap();
        let old = Secret::new("hvs.OLD".to_owned());
        assert!(!cache.remove_only(&old).unwrap());
        let own = cache.read().unwrap().unwrap().token;
        assert!(cache.remove_only(&own).unwrap());
        assert!(cache.read().unwrap().is_none());
    }

    #[tokio::test]
    async fn a_renewal_waits_for_the_lock_and_writes_no_removed_token() {
        let dir = tempfile::tempdir().unwrap();
        let (logout, renewal) = (cache(&dir), cache(&dir));
        let renewed = token("https://vault.example");
        logout.write(&renewed).unwrap();
        let held = logout.lock_within(Duration::ZERO).await.unwrap();
        assert!(renewal.lock_within(Duration::ZERO).await.is_none());
        let updating = async {
            let lock = renewal.lock_within(PATIENCE).await.unwrap();
            renewal.update(&renewed, &lock).unwrap();
        };
        let logging_out = async {
            sleep(LOCK_INTERVAL * 3).await;
            assert!(logout.remove().unwrap());
            drop(held);
        };
        tokio::join!(updating, logging_out);
        assert!(logout.read().unwrap().is_none());
    }

    #[test]
    fn a_renewal_updates_only_its_own_token() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, lock) = (cache(&dir), TokenLock(None));
        cache.update(&token("https://a.example"), &lock).unwrap();
        assert!(cache.read().unwrap().is_none());
        cache.write(&token("https://b.example")).unwrap();
        cache.update(&token("https://a.example"), &lock).unwrap();
        assert_eq!(cache.read().unwrap().unwrap().addr(), "https://b.example");
        let mut renewed = token("https://b.example");
        renewed.life = TokenLifetime::granted(Timestamp::UNIX_EPOCH, None, false);
        cache.update(&renewed, &lock).unwrap();
        assert_eq!(cache.read().unwrap().unwrap().life, renewed.life);
    }

    #[test]
    fn a_token_is_used_for_its_own_server_only() {
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
            let binding = VaultScope::new(addr, namespace);
            assert_eq!(token.is_for(&binding), is_for, "{addr} {namespace:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_replaced_by_the_next_login() {
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
