//! Lookup of hosts for reading commands: in Postgres, or in the cache while Postgres is unreachable.

use std::cell::Cell;
use std::rc::Rc;
use std::time::SystemTime;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError, Pool};
use vctl_common::vault::VaultError;

use super::cache::{CacheError, RecentFile, Snapshot, SnapshotFile};
use crate::centre::capabilities;
use crate::centre::capabilities::Need;
use crate::centre::context::Context;
use crate::centre::shared_connection::SharedConnection;
use crate::error::{CliError, Stop};
use crate::inventory;
use crate::inventory::{Host, Route, order, resolve};
use crate::ssh_ca;
use crate::ui::{notice, time};

/// Looks up hosts in Postgres or in the cache.
pub(crate) struct HostLookup<'a> {
    context: &'a Context,
    /// Role of the pool. A user who may log in with this role may also read the cache.
    role: DbRole,
    connection: SharedConnection,
    file: SnapshotFile,
    /// The cache, once it is used: a command uses the same hosts until its end.
    cached: OnceCell<Snapshot>,
    /// Whether Postgres was unreachable for a command that needs no hosts.
    away: Cell<bool>,
}

/// The source of the hosts of a command.
pub(crate) enum HostSource<'a> {
    Postgres(Rc<Client>, &'a SnapshotFile),
    Cache(&'a Snapshot),
}

impl<'a> HostLookup<'a> {
    pub(crate) fn new(context: &'a Context) -> Result<Self, Stop> {
        Ok(Self::with_pool(
            context,
            DbRole::Ro,
            context.pool(DbRole::Ro)?,
        ))
    }

    /// Returns a lookup through an existing pool, which the command also uses for other work.
    pub(crate) fn with_pool(context: &'a Context, role: DbRole, pool: Pool) -> Self {
        Self::with_connection(context, role, SharedConnection::of(pool))
    }

    /// Returns a lookup through a connection that other work uses at the same time.
    pub(crate) fn with_connection(
        context: &'a Context,
        role: DbRole,
        connection: SharedConnection,
    ) -> Self {
        Self {
            context,
            role,
            connection,
            file: SnapshotFile::in_dir(context.state(), context.settings()),
            cached: OnceCell::new(),
            away: Cell::new(false),
        }
    }

    /// Uses the cache file of an earlier lookup of this process, which is not written again at each lookup.
    pub(crate) fn with_file(mut self, file: SnapshotFile) -> Self {
        self.file = file;
        self
    }

    /// Returns the configured mount of the SSH CA.
    pub(crate) fn ssh_mount(&self) -> &str {
        &self.context.settings().vault.ssh_mount
    }

    /// Connects to Postgres, or uses the cache if Postgres is unreachable. Prints a note then, once.
    ///
    /// # Errors
    /// Postgres refused; or it is unreachable, and there is no cache, or Vault does not confirm that this
    /// user may read the inventory.
    pub(crate) async fn open(&self) -> Result<HostSource<'_>, Stop> {
        if let Some(cached) = self.cached.get() {
            return Ok(HostSource::Cache(cached));
        }
        let away = match self.connection.get().await {
            Ok(client) => return Ok(HostSource::Postgres(client, &self.file)),
            Err(error) if error.is_away() && !error.is_vault_away() => error,
            Err(error) => return Err(error.into()),
        };
        let cached = self
            .cached
            .get_or_try_init(|| self.read_cache(away))
            .await?;
        Ok(HostSource::Cache(cached))
    }

    /// Connects to Postgres, for a command that already knows its host.
    pub(crate) async fn connect(&self) -> Result<Rc<Client>, PgError> {
        let connected = self.connection.get().await;
        if connected.as_ref().is_err_and(PgError::is_away) {
            self.note_away();
        }
        connected
    }

    /// Notes that Postgres did not answer in time.
    pub(crate) fn note_away(&self) {
        self.away.set(true);
    }

    pub(crate) fn context(&self) -> &'a Context {
        self.context
    }

    /// Returns the hosts that were used on this machine, the latest first.
    pub(crate) fn recently_used(&self) -> Vec<String> {
        self.recent().read().hosts
    }

    /// Records the use of a host, for the host picker.
    pub(crate) fn record_use(&self, name: &str) {
        self.recent().change(|recent| recent.record_host(name));
    }

    fn recent(&self) -> RecentFile {
        RecentFile::in_dir(self.context.state(), self.context.settings())
    }

    /// Returns whether Postgres was unreachable.
    pub(crate) fn was_away(&self) -> bool {
        self.cached.initialized() || self.away.get()
    }

    async fn read_cache(&self, away: PgError) -> Result<Snapshot, Stop> {
        match self.may_read().await {
            Ok(()) => {}
            // Vault is unreachable too, so the rights of the user are unknown.
            Err(error) if error.is_retryable() => return Err(away.into()),
            Err(error) => return Err(PgError::Credential(error).into()),
        }
        let now = Timestamp::now();
        match self.file.read(now) {
            Ok(cached) => {
                let age = time::age(cached.age(now).unsigned_abs());
                notice::note(&format!("{away}; using the hosts cached {age}"));
                Ok(cached)
            }
            Err(CacheError::Absent) => Err(away.into()),
            Err(unusable) => Err(CliError::from(away).caused_by(&unusable).into()),
        }
    }

    /// Asks Vault whether the user may read the inventory now: a lost right must also end the use of the cache.
    async fn may_read(&self) -> Result<(), VaultError> {
        let vault = self.context.vault();
        let need = Need::credential("list", vault.settings(), &self.role);
        if capabilities::ask(std::slice::from_ref(&need), vault).await? == [true] {
            return Ok(());
        }
        Err(VaultError::Denied {
            what: format!("credential for database role `{}`", self.role),
            policy: Some(self.role.policy()),
            settings: Vec::new(),
        })
    }
}

impl HostSource<'_> {
    /// Returns all hosts, and caches them.
    pub(crate) async fn hosts(&self) -> Result<Vec<Host>, Stop> {
        match self {
            Self::Postgres(client, file) => {
                let hosts = inventory::store::hosts(client).await?;
                // A failure is not reported: the user did not ask for the cache.
                if let Err(error) = file.write_if_due(&hosts, Timestamp::now()) {
                    tracing::debug!(error = %error.one_line(), "The hosts were not cached.");
                }
                Ok(hosts)
            }
            Self::Cache(snapshot) => {
                let mut hosts = snapshot.hosts.clone();
                order::sort(&mut hosts);
                Ok(hosts)
            }
        }
    }

    /// Like [`inventory::store::find`].
    pub(crate) async fn find(&self, query: &str) -> Result<Vec<Host>, Stop> {
        match self {
            Self::Postgres(client, _) => inventory::store::find(client, query).await,
            Self::Cache(snapshot) => {
                let found = resolve(&snapshot.hosts, query).into_iter().cloned();
                let mut found: Vec<Host> = found.collect();
                found.sort_by(|one, other| order::by_name(&one.name, &other.name));
                Ok(found)
            }
        }
    }

    /// Like [`inventory::store::route`].
    pub(crate) async fn route(&self, name: &str) -> Result<Route, Stop> {
        match self {
            Self::Postgres(client, _) => inventory::store::route(&****client, name).await,
            Self::Cache(snapshot) => Ok(Route::among(&snapshot.hosts, name)?),
        }
    }

    /// Like [`ssh_ca::store::signing_mount`]. The cache does not have it: Vault refuses a wrong mount itself.
    pub(crate) async fn signing_mount(&self, configured: &str) -> Result<String, Stop> {
        match self {
            Self::Postgres(client, _) => ssh_ca::store::signing_mount(client, configured).await,
            Self::Cache(_) => Ok(configured.to_owned()),
        }
    }

    /// Returns the database's clock, to compare with reports of agents; `None` for cached hosts.
    pub(crate) async fn clock(&self) -> Result<Option<SystemTime>, Stop> {
        match self {
            Self::Postgres(client, _) => inventory::store::clock(client).await.map(Some),
            Self::Cache(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_database_counts_as_unreachable() {
        let addr = || "db.example:5432".to_owned();
        let http = |status| VaultError::Http {
            path: "database/creds/vctl-ro".to_owned(),
            status,
            message: String::new(),
            retry_after: None,
        };
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let unreachable = PgError::Unreachable {
            addr: addr(),
            source: refused,
        };
        let limited = VaultError::RateLimited {
            path: "database/creds/vctl-ro".to_owned(),
            retry_after: None,
        };
        let sealed = VaultError::Sealed {
            addr: "https://vault.example".to_owned(),
        };
        let busy = PgError::Busy {
            size: 1,
            after: std::time::Duration::ZERO,
        };
        let denied = VaultError::Denied {
            what: "credential".to_owned(),
            policy: None,
            settings: Vec::new(),
        };
        for (error, away) in [
            (unreachable, true),
            (PgError::Credential(http(500)), true),
            (PgError::Credential(http(400)), false),
            (PgError::Credential(denied), false),
            (PgError::Credential(VaultError::TokenInvalid), false),
            (PgError::Plaintext { addr: addr() }, false),
            (PgError::Closed, false),
            (PgError::Credential(limited), true),
            (PgError::Credential(sealed), false),
            (busy, true),
        ] {
            let replaced = error.is_away() && !error.is_vault_away();
            assert_eq!(replaced, away, "{error}");
        }
    }
}
