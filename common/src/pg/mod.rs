//! A pool of Postgres connections for one purpose, each replaced before its credential ends.
//!
//! Each connection has a credential from Vault. It is handed out only while at least a third
//! of the credential's time is left, and is replaced after that. Vault revokes a credential when
//! its connection is closed, and all of them at [`Pool::close`]. A credential of
//! [`SharedLogins`] is not revoked: the next command uses it.

mod compat;
mod connect;
mod error;
mod limits;
mod login;
mod manager;
mod replay;
mod revoker;
mod server;
mod shared;
mod shortcuts;
mod tls_stream;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, PoolError, Timeouts};

pub use crate::centre::DbRole;
pub use compat::{AGENT_PROTOCOL, READER_PROTOCOL};
pub use error::{NOT_IN_INVENTORY, PgError, Program, Statement, tls_hint};
pub use limits::PoolLimits;
pub use shared::{MOST_LOGINS, SharedLogins, Turn};
pub use shortcuts::{ShortcutStore, Shortcuts};
pub use tokio_postgres;

use crate::centre::DbSettings;
use crate::spans;
use crate::vault::Vault;
use manager::Manager;
use revoker::Revoker;
use server::Server;
use shortcuts::InProcess;

/// Connections for one purpose. Cheap to clone; all clones share them.
#[derive(Clone)]
pub struct Pool {
    connections: managed::Pool<Manager>,
    revoker: Arc<Revoker>,
    limits: PoolLimits,
    /// There is a task that closes idle connections.
    closes_idle: Arc<AtomicBool>,
}

impl Pool {
    /// Creates the pool; the first [`Pool::get`] connects.
    ///
    /// # Errors
    /// `Setting` and `Setup`, when these settings cannot reach any server.
    pub fn new(
        vault: Vault,
        settings: &DbSettings,
        role: DbRole,
        limits: PoolLimits,
    ) -> Result<Self, PgError> {
        Self::with_logins(vault, settings, role, limits, None)
    }

    /// As `new`, with logins that other processes of this user may use too, and with shortcuts that they have learned.
    pub fn with_logins(
        vault: Vault,
        settings: &DbSettings,
        role: DbRole,
        limits: PoolLimits,
        logins: Option<Arc<dyn SharedLogins>>,
    ) -> Result<Self, PgError> {
        let shortcuts: Arc<dyn ShortcutStore> = match &logins {
            Some(logins) => Arc::clone(logins) as _,
            None => Arc::new(InProcess::default()),
        };
        let server = Server::new(settings, shortcuts)?;
        let revoker = Arc::new(Revoker::new(vault.clone()));
        let manager = Manager {
            logins: logins.filter(|logins| logins.shares(&role)),
            vault,
            server,
            role,
            limits: limits.clone(),
            revoker: Arc::clone(&revoker),
        };
        let connections = managed::Pool::builder(manager)
            .max_size(limits.max_size.max(1))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(limits.wait),
                // Each step of creation has its own limit and error.
                create: None,
                recycle: Some(Duration::from_secs(10)),
            })
            .build()
            // Fails for timeouts without a runtime, but there is a runtime.
            .map_err(|_| PgError::Closed)?;
        Ok(Self {
            connections,
            revoker,
            limits,
            closes_idle: Arc::default(),
        })
    }

    /// Returns a connection with a credential that is valid for at least a third of its time.
    ///
    /// Drop it after each piece of work: a connection that is held for hours outlives its
    /// credential.
    pub async fn get(&self) -> Result<Client, PgError> {
        self.close_idle();
        match Box::pin(self.connections.get()).await {
            Ok(connection) => Ok(Client {
                connection,
                _in_use: spans::query(),
            }),
            Err(PoolError::Backend(error)) => Err(error),
            Err(PoolError::Timeout(_)) => Err(PgError::Busy {
                size: self.limits.max_size,
                after: self.limits.wait,
            }),
            Err(_) => Err(PgError::Closed),
        }
    }

    /// Starts to close idle connections, at the first call. The task ends with the pool.
    fn close_idle(&self) {
        let Some(idle) = self.limits.idle else {
            return;
        };
        if self.closes_idle.swap(true, Ordering::Relaxed) {
            return;
        }
        let pool = self.connections.weak();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(idle / 2).await;
                match pool.upgrade() {
                    Some(pool) if !pool.is_closed() => {
                        drop(pool.retain(|_, metrics| metrics.last_used() < idle));
                    }
                    _ => return,
                }
            }
        });
    }

    /// Does a piece of work with a connection, and gives the connection back.
    ///
    /// # Errors
    /// There is no connection, or the work fails.
    pub async fn with<T, E: From<PgError>>(
        &self,
        work: impl AsyncFnOnce(&Client) -> Result<T, E>,
    ) -> Result<T, E> {
        let client = self.get().await?;
        work(&client).await
    }

    /// Closes the connections and revokes their credentials in Vault. A connection that is in use
    /// is closed when it is dropped; its credential then ends when its time is over.
    pub async fn close(&self) {
        self.connections.close();
        self.revoker.sweep().await;
    }
}

/// A connection in use; dropping it returns it to its pool.
pub struct Client {
    connection: managed::Object<Manager>,
    _in_use: tracing::Span,
}

impl Client {
    /// Returns the name of the login of this connection.
    pub fn login(&self) -> &str {
        self.connection.login()
    }

    /// Checks whether this program and the schema fit together, after connecting with `any_schema`.
    ///
    /// # Errors
    /// `SchemaTooOld` and `ProgramTooOld`.
    pub async fn check_schema(&self, role: &DbRole) -> Result<(), PgError> {
        compat::check(self, role).await
    }

    /// Removes the connection from the pool, after an error that leaves its state unknown.
    pub fn discard(self) {
        drop(managed::Object::take(self.connection));
    }
}

impl Deref for Client {
    type Target = deadpool_postgres::ClientWrapper;

    fn deref(&self) -> &Self::Target {
        self.connection.client()
    }
}

impl DerefMut for Client {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.connection.client_mut()
    }
}
