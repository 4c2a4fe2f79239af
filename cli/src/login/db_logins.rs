//! Database logins of this user, shared by all commands with the same token: `~/.vctl/db-login.ROLE`.
//!
//! Vault creates a role in Postgres for each login, and drops it. Only the roles of everyday commands are shared: a
//! command that changes something keeps its login to itself.
//!
//! A file belongs to one token, by its accessor. The token is stored before the files of the last one are removed, and a
//! command that stores a login checks the token afterwards. So no file outlives its token, in any order of a login, a
//! logout and other commands.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;
use vctl_common::centre::{DbRole, Settings};
use vctl_common::file_lock::{self, Tried};
use vctl_common::hex;
use vctl_common::pg::{MOST_LOGINS, SharedLogins, ShortcutStore, Shortcuts, Turn};
use vctl_common::vault::{Lease, StoredLease};

use super::cache::{CachedToken, TokenCache};
use super::db_login_file::{LoginScope, StoredLogin, VERSION, file_name, lock_name, read};
use super::db_memory;
use crate::files::private_file;
use crate::files::state_dir::StateDir;
use crate::ui::notice;

/// Least rest of a lease for another command: a read of the record takes at most this long.
const LEAST_REST: Duration = Duration::from_mins(2);

/// Least time of `db_login_keep`. A login for less would be replaced all the time, and each one lives until its lease
/// ends.
const LEAST_KEEP: Duration = Duration::from_mins(1);

/// Time that a logout waits for commands that create a login. Vault needs some tens of milliseconds for it, and a far or
/// busy one some seconds.
const PATIENCE: Duration = Duration::from_secs(10);
const LOCK_INTERVAL: Duration = Duration::from_millis(20);

/// The roles with shared logins, and the first part of the names of their logins, as deploy/vault/username.tmpl writes
/// it.
const SHARED: [(DbRole, &str); 3] = [
    (DbRole::Ro, "ro"),
    (DbRole::AuditRo, "audit-ro"),
    (DbRole::AuditWriter, "audit-wr"),
];

/// The logins of one token.
#[derive(Debug)]
pub(crate) struct DbLogins {
    state: StateDir,
    cache: TokenCache,
    token: CachedToken,
    settings: Settings,
    /// Age at which a login is replaced.
    keep: Duration,
}

impl DbLogins {
    /// Returns the logins of a cached token, or `None` if none are stored for it.
    pub(crate) fn of(
        state: &StateDir,
        cache: &TokenCache,
        token: &CachedToken,
        settings: &Settings,
        keep: Duration,
    ) -> Option<Self> {
        // Without an accessor a later token could not be told apart, and without a name a login of another user.
        let is_known = !token.accessor.is_empty() && !token.display_name.is_empty();
        (is_known && keep >= LEAST_KEEP).then(|| Self {
            state: state.clone(),
            cache: cache.clone(),
            token: token.clone(),
            settings: settings.clone(),
            keep,
        })
    }

    fn path(&self, role: &DbRole, number: usize) -> PathBuf {
        self.state.file(&file_name(role, number))
    }

    fn scope(&self, role: &DbRole) -> LoginScope {
        let vault = &self.settings.vault;
        let (vault_addr, vault_namespace) = self.token.scope();
        LoginScope {
            vault_addr: vault_addr.to_owned(),
            vault_namespace: vault_namespace.map(str::to_owned),
            accessor: self.token.accessor.clone(),
            role: format!("{}/{}", vault.database_mount, role.vault_role(&vault.roles)),
            database: self.database(),
        }
    }

    /// Returns the role's name in Vault, with its server and namespace.
    fn vault_role(&self, role: &DbRole) -> String {
        let scope = self.scope(role);
        let namespace = scope.vault_namespace.unwrap_or_default();
        format!("{} {namespace} {}", scope.vault_addr, scope.role)
    }

    /// Returns whether the login lives long enough for another command.
    fn is_lasting(&self, lease: &Lease) -> bool {
        !usable(lease.ttl, self.keep).is_zero()
    }

    fn database(&self) -> String {
        self.settings.db.location()
    }

    fn is_ours(&self, role: &DbRole, username: &str) -> bool {
        purpose(role)
            .is_some_and(|purpose| is_login_of(username, purpose, &self.token.display_name))
    }

    /// Returns whether the file has a usable login of this token for another database or mount. Commands that take turns
    /// between two databases would replace it each time, and each one lives until its lease ends.
    fn is_taken(&self, role: &DbRole, number: usize) -> bool {
        read(&self.path(role, number)).is_some_and(|stored| {
            let age = age(stored.created, Timestamp::now());
            let ttl = Duration::from_secs(stored.ttl_s);
            stored.scope.is_beside(&self.scope(role))
                && age.is_some_and(|age| age < usable(ttl, self.keep))
        })
    }

    /// Returns whether there is no token any more. A newer token is no reason to stop a command that still runs.
    fn is_logged_out(&self) -> bool {
        matches!(self.cache.read(), Ok(None))
    }

    fn turn(
        &self,
        role: &DbRole,
        number: usize,
        lock: impl Fn(&File) -> io::Result<Tried>,
    ) -> Turn {
        let path = self.state.file(&lock_name(role, number));
        let made = self.state.make().is_ok();
        let Some(file) = made.then(|| private_file::open_lock(&path).ok()).flatten() else {
            return Turn::Unlocked;
        };
        match lock(&file) {
            Ok(Tried::Busy) => Turn::Busy,
            Ok(Tried::Taken) if self.is_logged_out() => Turn::LoggedOut,
            Ok(Tried::Taken) => Turn::Mine(file),
            Ok(Tried::Unsupported) | Err(_) => Turn::Unlocked,
        }
    }

    /// Returns whether the user's token is still this one.
    fn is_current(&self) -> bool {
        let current = self.cache.read().ok().flatten();
        current.is_some_and(|token| token.accessor == self.token.accessor)
    }
}

impl ShortcutStore for DbLogins {
    fn shortcuts(&self) -> Shortcuts {
        db_memory::read(&self.state, &self.database())
    }

    fn change_shortcuts(&self, change: &dyn Fn(Shortcuts) -> Shortcuts) {
        db_memory::change(&self.state, &self.database(), change);
    }
}

impl SharedLogins for DbLogins {
    fn shares(&self, role: &DbRole) -> bool {
        purpose(role).is_some()
    }

    fn read(&self, role: &DbRole, number: usize) -> Option<StoredLease> {
        let stored = read(&self.path(role, number))?;
        if stored.scope != self.scope(role) || !self.is_ours(role, &stored.username) {
            return None;
        }
        let ttl = Duration::from_secs(stored.ttl_s);
        let age = age(stored.created, Timestamp::now())?;
        (age < usable(ttl, self.keep)).then_some(StoredLease {
            username: stored.username,
            password: stored.password,
            lease_id: stored.lease_id,
            ttl,
            age,
        })
    }

    fn try_turn(&self, role: &DbRole, number: usize) -> Turn {
        self.turn(role, number, file_lock::try_exclusive)
    }

    fn try_own_turn(&self, role: &DbRole, number: usize) -> Turn {
        self.turn(role, number, file_lock::try_shared)
    }

    fn may_last(&self, role: &DbRole) -> bool {
        db_memory::may_last(&self.state, &self.vault_role(role))
    }

    fn learn(&self, role: &DbRole, lease: &Lease) {
        let is_lasting = self.is_lasting(lease);
        db_memory::learn_lasting(&self.state, &self.vault_role(role), is_lasting);
    }

    fn store(&self, role: &DbRole, number: usize, lease: &Lease) -> bool {
        let is_of_token = lease.is_of_token(&self.token.token);
        let is_ours = is_of_token && self.is_ours(role, &lease.username);
        if !self.is_lasting(lease) || !is_ours || self.is_taken(role, number) {
            return false;
        }
        let now = Timestamp::now();
        let login = StoredLogin {
            version: VERSION,
            scope: self.scope(role),
            username: lease.username.clone(),
            password: lease.password.clone(),
            lease_id: lease.lease_id.clone(),
            created: now.checked_sub(lease.age()).unwrap_or(now),
            ttl_s: lease.ttl.as_secs(),
        };
        let path = self.path(role, number);
        // Not synced: after a crash of the machine, a damaged file counts as missing.
        let written = private_file::replace_unsynced(&path, |out| {
            serde_json::to_writer_pretty(&mut *out, &login)?;
            out.write_all(b"\n")
        });
        if let Err(error) = written {
            notice::note_once(&format!(
                "the database login is used for this command only: cannot write `{}`: {error}",
                path.display()
            ));
            return false;
        }
        if !self.is_current() {
            self.remove(role, number, &login.username);
            return false;
        }
        true
    }

    fn remove(&self, role: &DbRole, number: usize, username: &str) {
        let path = self.path(role, number);
        if read(&path).is_some_and(|stored| stored.username == username) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// The locks of all shared logins. No command begins to create one until they are dropped.
pub(crate) struct HeldLogins {
    _locks: Vec<File>,
    /// A command was still creating a login at the end of the time.
    pub(crate) is_incomplete: bool,
}

/// Waits until no command creates a login of these roles, for some seconds at most. Vault does not revoke a login that it
/// creates while it revokes the token. The token must have been removed.
pub(crate) async fn hold_all(state: &StateDir) -> HeldLogins {
    let since = Instant::now();
    let mut held = Vec::new();
    let mut is_incomplete = false;
    for (role, _) in SHARED {
        for number in 0..MOST_LOGINS {
            let path = state.file(&lock_name(&role, number));
            // A command that creates the lock later finds no token.
            let Some(file) = path
                .exists()
                .then(|| private_file::open_lock(&path).ok())
                .flatten()
            else {
                continue;
            };
            while let Ok(Tried::Busy) = file_lock::try_exclusive(&file) {
                if since.elapsed() >= PATIENCE {
                    is_incomplete = true;
                    break;
                }
                sleep(LOCK_INTERVAL).await;
            }
            held.push(file);
        }
    }
    HeldLogins {
        _locks: held,
        is_incomplete,
    }
}

/// Returns the first part of the names of a role's logins; `None` for a role without shared logins.
fn purpose(role: &DbRole) -> Option<&'static str> {
    let mut shared = SHARED.into_iter();
    shared.find_map(|(of, purpose)| (of == *role).then_some(purpose))
}

/// Returns whether this is the name of a login of this user for this purpose: `<purpose>/<person>~<hash>/<random>`.
fn is_login_of(username: &str, purpose: &str, display_name: &str) -> bool {
    let hash = hex::encode(&Sha256::digest(display_name.as_bytes())[..8]);
    let mut parts = username.split('/');
    let (Some(first), Some(person), Some(random), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let of_person = person.rsplit_once('~').map(|(_, hash)| hash);
    first == purpose && of_person == Some(hash.as_str()) && !random.is_empty()
}

/// Returns the age of a login; `None` if the clock was set back behind its creation.
fn age(created: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(now.duration_since(created)).ok()
}

/// Returns the age until which later commands use a login.
///
/// The pool replaces a connection when half to two thirds of its lease are over, so a connection of a stored login is
/// used at least once.
fn usable(ttl: Duration, keep: Duration) -> Duration {
    keep.min(ttl / 2).min(ttl.saturating_sub(LEAST_REST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_used_for_half_of_its_time_at_most() {
        let minutes = Duration::from_mins;
        for (ttl, keep, used) in [
            (60, 30, 30),
            (60, 10, 10),
            (60, 600, 30),
            (20, 30, 10),
            (3, 30, 1),
            (2, 30, 0),
            (1, 30, 0),
        ] {
            assert_eq!(usable(minutes(ttl), minutes(keep)), minutes(used), "{ttl}");
        }
    }

    #[test]
    fn a_login_of_the_future_has_no_age() {
        let now = Timestamp::UNIX_EPOCH;
        let later = now + Duration::from_secs(1);
        assert_eq!(age(now, later), Some(Duration::from_secs(1)));
        assert_eq!(age(later, now), None);
    }

    #[test]
    fn a_login_of_another_user_or_purpose_is_not_ours() {
        // `printf oidc-albert | sha256sum`
        let hash = hex::encode(&Sha256::digest(b"oidc-albert")[..8]);
        let ours = |name: &str| is_login_of(name, "ro", "oidc-albert");
        assert!(ours(&format!("ro/oidc-albert~{hash}/x1Y2z3A4")));
        for other in [
            format!("rw/oidc-albert~{hash}/x1Y2z3A4"),
            format!("audit-ro/oidc-albert~{hash}/x1Y2z3A4"),
            format!("ro/oidc-albert~{hash}"),
            format!("ro/oidc-albert~{hash}/"),
            format!("ro/oidc-albert~{hash}/x/y"),
            format!("ro/oidc-bob~{}/x1Y2z3A4", &hash[..15]),
            "ro/oidc-albert~0123456789abcdef/x1Y2z3A4".to_owned(),
            "postgres".to_owned(),
            String::new(),
        ] {
            assert!(!ours(&other), "{other}");
        }
    }
}
