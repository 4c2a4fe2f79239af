//! Database logins that all commands of one user share.
//!
//! Vault creates a role in Postgres for each login, about 70 in a second. So a command leaves its login to the next
//! one. Where logins are stored, and which of them are usable, is up to [`SharedLogins`]; this file decides when a
//! command uses a stored login, creates one, or waits.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::error::PgError;
use super::shortcuts::ShortcutStore;
use crate::backoff::{Backoff, random_fraction};
use crate::centre::DbRole;
use crate::vault::{Lease, StoredLease, Vault, VaultError};

/// Logins of one role: the first, and others for the time that its connections are in use. Postgres limits the
/// connections of a login.
pub const MOST_LOGINS: usize = 4;

/// Interval to look for the login that another command creates. Vault needs some tens of milliseconds.
const LOOK: Duration = Duration::from_millis(20);

/// Time without a free connection after which a command creates another login.
const CROWDED: Duration = Duration::from_millis(300);

/// A store of logins, for one user and one token.
pub trait SharedLogins: ShortcutStore {
    /// Returns whether logins of this role are stored at all.
    fn shares(&self, role: &DbRole) -> bool;

    /// Returns the login with this number, if it is usable for a whole command.
    fn read(&self, role: &DbRole, number: usize) -> Option<StoredLease>;

    /// Takes the right to create or remove the login with this number, without waiting.
    fn try_turn(&self, role: &DbRole, number: usize) -> Turn;

    /// Takes the right to create a login that no other command uses, without waiting. Several commands may have it at the
    /// same time.
    fn try_own_turn(&self, role: &DbRole, number: usize) -> Turn;

    /// Returns whether the last login of this role lived long enough for other commands.
    fn may_last(&self, role: &DbRole) -> bool;

    /// Notes how long a new login of this role lives.
    fn learn(&self, role: &DbRole, lease: &Lease);

    /// Stores a new login, and returns whether it was stored.
    fn store(&self, role: &DbRole, number: usize, lease: &Lease) -> bool;

    /// Removes the login with this number if it has this name.
    fn remove(&self, role: &DbRole, number: usize, username: &str);
}

/// The right to create a login.
#[derive(Debug)]
pub enum Turn {
    /// Until the file is closed.
    Mine(File),
    /// Another process creates it.
    Busy,
    /// There are no locks: several processes may create a login, and the last one is stored.
    Unlocked,
    /// The user has logged out meanwhile. A login that Vault creates while it revokes the token would stay.
    LoggedOut,
}

/// A lease from [`Source::lease`].
pub(super) enum Found {
    /// Later commands use it too, so it is not revoked.
    Shared(Lease),
    /// For this process only.
    Own(Lease),
}

/// The choice of a login for one connection.
pub(super) struct Source<'a> {
    logins: &'a Arc<dyn SharedLogins>,
    vault: &'a Vault,
    role: &'a DbRole,
    number: usize,
    /// Names of logins that Postgres refused. After a restore of Postgres, it refuses all stored ones.
    refused: BTreeSet<String>,
    /// Numbers of logins that were refused and tried again.
    retried: BTreeSet<usize>,
    /// The last login was in the store.
    was_stored: AtomicBool,
    began: Instant,
    pauses: Backoff,
}

impl<'a> Source<'a> {
    pub(super) fn new(
        logins: &'a Arc<dyn SharedLogins>,
        vault: &'a Vault,
        role: &'a DbRole,
    ) -> Self {
        Self {
            logins,
            vault,
            role,
            number: 0,
            refused: BTreeSet::new(),
            retried: BTreeSet::new(),
            was_stored: AtomicBool::new(false),
            began: Instant::now(),
            pauses: Backoff::new(Duration::from_millis(100), Duration::from_secs(1)),
        }
    }

    /// Returns a stored login, or creates and stores one. Of several commands, one creates it and the others wait.
    pub(super) async fn lease(&self) -> Result<Found, PgError> {
        let since = Instant::now();
        // Until its request to Vault must have ended. A stopped process keeps its lock for longer.
        let patience = self.vault.settings().timeout;
        loop {
            if let Some(stored) = self.stored() {
                let adopted = self.vault.adopt_lease(stored).await;
                self.was_stored.store(true, Ordering::Relaxed);
                return Ok(Found::Shared(adopted.map_err(PgError::Credential)?));
            }
            // No other command can use a login that does not last, so none waits for it.
            let may_last = self.logins.may_last(self.role);
            // Held until the login is stored or, for this command alone, created: a logout waits for it.
            let turn = if may_last {
                self.logins.try_turn(self.role, self.number)
            } else {
                self.logins.try_own_turn(self.role, self.number)
            };
            match &turn {
                Turn::Mine(_) | Turn::Unlocked => {}
                Turn::Busy if since.elapsed() < patience => {
                    sleep(LOOK.mul_f64(0.5 + random_fraction())).await;
                    continue;
                }
                Turn::Busy => return Ok(Found::Own(self.create().await?)),
                Turn::LoggedOut => return Err(PgError::Credential(VaultError::TokenInvalid)),
            }
            if !may_last {
                return Ok(Found::Own(self.create().await?));
            }
            // The process that had the lock before may just have stored a login.
            if self.stored().is_some() {
                continue;
            }
            for refused in &self.refused {
                self.logins.remove(self.role, self.number, refused);
            }
            let lease = self.create().await?;
            if self.logins.store(self.role, self.number, &lease) {
                return Ok(Found::Shared(lease));
            }
            return Ok(Found::Own(lease));
        }
    }

    fn stored(&self) -> Option<StoredLease> {
        let stored = self.logins.read(self.role, self.number)?;
        (!self.refused.contains(&stored.username)).then_some(stored)
    }

    async fn create(&self) -> Result<Lease, PgError> {
        self.was_stored.store(false, Ordering::Relaxed);
        let lease = self.vault.db_credentials(self.role).await;
        let lease = lease.map_err(PgError::Credential)?;
        self.logins.learn(self.role, &lease);
        Ok(lease)
    }

    /// Decides after a failed connection whether to try again, within `limit` for all attempts.
    ///
    /// # Errors
    /// The failure, if another attempt does not help.
    pub(super) async fn after(&mut self, failure: PgError, limit: Duration) -> Result<(), PgError> {
        match &failure {
            // Revoked, or Postgres was restored from a backup.
            PgError::Login { login, .. } => {
                self.refused.insert(login.clone());
                // A new login that is refused is an error of the configuration.
                if self.was_stored.load(Ordering::Relaxed) && self.retried.insert(self.number) {
                    return Ok(());
                }
                // With the lock: otherwise a login that another command has just stored could be removed.
                let turn = self.logins.try_turn(self.role, self.number);
                if matches!(turn, Turn::Mine(_) | Turn::Unlocked) {
                    self.logins.remove(self.role, self.number, login);
                }
            }
            PgError::TooManyConnections { .. } if failure.is_limit_of_login() => {
                let waited = self.began.elapsed();
                if waited < limit {
                    if !self.turn_to_next(waited) {
                        sleep(self.pauses.next_pause()).await;
                    }
                    return Ok(());
                }
            }
            _ => {}
        }
        Err(failure)
    }

    /// Turns to the next login; returns false after the last one, where the first is next.
    fn turn_to_next(&mut self, waited: Duration) -> bool {
        let next = self.number + 1;
        let may_create = waited >= CROWDED;
        let exists =
            next < MOST_LOGINS && (may_create || self.logins.read(self.role, next).is_some());
        self.number = if exists { next } else { 0 };
        exists
    }
}
