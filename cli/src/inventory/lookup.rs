//! Hosts for whoever only reads: those of Postgres, or while it is away those that were kept.

use std::time::SystemTime;

use jiff::Timestamp;
use tokio::sync::OnceCell;
use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError, Pool};
use vctl_common::vault::VaultError;

use super::cache::{RecentFile, Snapshot, SnapshotFile, Unusable};
use crate::centre::capabilities;
use crate::centre::capabilities::Need;
use crate::centre::context::Context;
use crate::error::{CliError, Stop};
use crate::inventory;
use crate::inventory::{Host, Route, order, resolve};
use crate::ssh_ca;
use crate::ui::{notice, time};

/// Where hosts are looked up.
pub(crate) struct Directory<'a> {
    context: &'a Context,
    /// Of the pool: who may have such a login may see what is kept.
    role: DbRole,
    pool: Pool,
    file: SnapshotFile,
    /// What is kept, once it is used: one command sees one inventory.
    kept: OnceCell<Snapshot>,
}

/// One look.
pub(crate) enum Source<'a> {
    Live(Box<Client>, &'a SnapshotFile),
    Kept(&'a Snapshot),
}

impl<'a> Directory<'a> {
    pub(crate) fn new(context: &'a Context) -> Result<Self, Stop> {
        Ok(Self::through(
            context,
            DbRole::Ro,
            context.pool(DbRole::Ro)?,
        ))
    }

    /// Looks hosts up with a login that is there for more than that.
    pub(crate) fn through(context: &'a Context, role: DbRole, pool: Pool) -> Self {
        Self {
            context,
            role,
            pool,
            file: SnapshotFile::in_dir(context.state(), context.settings()),
            kept: OnceCell::new(),
        }
    }

    /// Returns the configured mount of the SSH CA.
    pub(crate) fn ssh_mount(&self) -> &str {
        &self.context.settings().vault.ssh_mount
    }

    /// Returns Postgres, or what is kept when it is away; that is said once.
    ///
    /// # Errors
    /// Postgres is there and unwilling; or it is away, and nothing is kept, or Vault does not say that
    /// this person may read the inventory.
    pub(crate) async fn open(&self) -> Result<Source<'_>, Stop> {
        if let Some(kept) = self.kept.get() {
            return Ok(Source::Kept(kept));
        }
        let away = match self.context.connect(&self.pool).await {
            Ok(client) => return Ok(Source::Live(Box::new(client), &self.file)),
            Err(error) if error.is_away() && !error.is_vault_away() => error,
            Err(error) => return Err(error.into()),
        };
        let kept = self.kept.get_or_try_init(|| self.fall_back(away)).await?;
        Ok(Source::Kept(kept))
    }

    /// Returns the hosts that were used last on this machine, the last one first.
    pub(crate) fn recently_used(&self) -> Vec<String> {
        self.recent().read().hosts
    }

    /// Remembers that a host is used, for the next list to choose from.
    pub(crate) fn use_host(&self, name: &str) {
        self.recent().change(|recent| recent.use_host(name));
    }

    fn recent(&self) -> RecentFile {
        RecentFile::in_dir(self.context.state(), self.context.settings())
    }

    /// Says whether Postgres was away when it was asked for.
    pub(crate) fn was_away(&self) -> bool {
        self.kept.initialized()
    }

    async fn fall_back(&self, away: PgError) -> Result<Snapshot, Stop> {
        match self.may_read().await {
            Ok(()) => {}
            // Also Vault is away: what it would say is not known.
            Err(error) if error.is_retryable() => return Err(away.into()),
            Err(error) => return Err(PgError::Credential(error).into()),
        }
        let now = Timestamp::now();
        match self.file.read(now) {
            Ok(kept) => {
                let age = time::age(kept.age(now).unsigned_abs());
                notice::note(&format!("{away}; these are the hosts as of {age}"));
                Ok(kept)
            }
            Err(Unusable::Absent) => Err(away.into()),
            Err(unusable) => Err(CliError::from(away).caused_by(&unusable).into()),
        }
    }

    /// Asks Vault: what is kept is for who may read the inventory now, not for who could once.
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

impl Source<'_> {
    /// Returns all hosts, and keeps them.
    pub(crate) async fn hosts(&self) -> Result<Vec<Host>, Stop> {
        match self {
            Self::Live(client, file) => {
                let hosts = inventory::store::hosts(client).await?;
                // Nobody asked for it, so nobody hears that it failed.
                if let Err(error) = file.write(&hosts, Timestamp::now()) {
                    tracing::debug!(error = %error.message, "The inventory was not kept.");
                }
                Ok(hosts)
            }
            Self::Kept(snapshot) => {
                let mut hosts = snapshot.hosts.clone();
                order::sort(&mut hosts);
                Ok(hosts)
            }
        }
    }

    /// As `store::inventory::find`.
    pub(crate) async fn find(&self, query: &str) -> Result<Vec<Host>, Stop> {
        match self {
            Self::Live(client, _) => inventory::store::find(client, query).await,
            Self::Kept(snapshot) => {
                let found = resolve(&snapshot.hosts, query).into_iter().cloned();
                let mut found: Vec<Host> = found.collect();
                found.sort_by(|one, other| order::by_name(&one.name, &other.name));
                Ok(found)
            }
        }
    }

    /// As `store::inventory::route`.
    pub(crate) async fn route(&self, name: &str) -> Result<Route, Stop> {
        match self {
            Self::Live(client, _) => inventory::store::route(&****client, name).await,
            Self::Kept(snapshot) => Ok(Route::among(&snapshot.hosts, name)?),
        }
    }

    /// As `store::ca::signing_mount`. Which CA signs is not kept: Vault itself says when it is another.
    pub(crate) async fn signing_mount(&self, configured: &str) -> Result<String, Stop> {
        match self {
            Self::Live(client, _) => ssh_ca::store::signing_mount(client, configured).await,
            Self::Kept(_) => Ok(configured.to_owned()),
        }
    }

    /// Returns the time by which reports of agents are; none for hosts that were kept.
    pub(crate) async fn clock(&self) -> Result<Option<SystemTime>, Stop> {
        match self {
            Self::Live(client, _) => inventory::store::clock(client).await.map(Some),
            Self::Kept(_) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_database_without_a_connection_left_is_away_too() {
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
