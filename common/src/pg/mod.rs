//! Postgres, as one purpose: connections whose credentials live longer than they do.
//!
//! Each connection has a credential of its own from Vault. It is handed out only while a third of
//! the credential's time is left, and is replaced after that; Vault takes the credential back as
//! soon as the connection is gone, and all of them at [`Pool::close`].

mod compat;
mod connect;
mod error;
mod manager;
mod revoker;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, PoolError, Timeouts};

pub use crate::centre::DbRole;
pub use compat::{AGENT_PROTOCOL, Program, READER_PROTOCOL};
pub use error::{NOT_IN_INVENTORY, PgError, Statement, tls_hint};
pub use tokio_postgres;

use crate::centre::DbSettings;
use crate::spans;
use crate::vault::Vault;
use connect::Server;
use manager::Manager;
use revoker::Revoker;

/// How many connections, and for how long.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    pub max_size: usize,
    /// A connection older than this is replaced, also when its credential would live on.
    pub max_age: Option<Duration>,
    /// How long [`Pool::get`] waits while all are in use.
    pub wait: Duration,
    /// After this, Postgres itself ends a statement.
    pub statement_timeout: Option<Duration>,
    /// Connects also where the schema is missing, or does not fit this program: for who puts it right.
    pub any_schema: bool,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_size: 1,
            max_age: None,
            wait: Duration::from_secs(30),
            statement_timeout: None,
            any_schema: false,
        }
    }
}

/// Connections for one purpose. Cheap to clone; all clones share them.
#[derive(Clone)]
pub struct Pool {
    connections: managed::Pool<Manager>,
    revoker: Arc<Revoker>,
    limits: PoolLimits,
}

impl Pool {
    /// Gets ready to connect; the first [`Pool::get`] does.
    ///
    /// # Errors
    /// `Setting` and `Setup`, when nothing could be reached with these settings.
    pub fn new(
        vault: Vault,
        settings: &DbSettings,
        role: DbRole,
        limits: PoolLimits,
    ) -> Result<Self, PgError> {
        let server = Server::new(settings)?;
        let revoker = Arc::new(Revoker::new(vault.clone()));
        let manager = Manager::new(vault, server, role, limits.clone(), Arc::clone(&revoker));
        let connections = managed::Pool::builder(manager)
            .max_size(limits.max_size.max(1))
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(limits.wait),
                // Each step of it has a limit of its own, and says which it was.
                create: None,
                recycle: Some(Duration::from_secs(10)),
            })
            .build()
            // Fails for timeouts without a runtime, and there is one.
            .map_err(|_| PgError::Closed)?;
        Ok(Self {
            connections,
            revoker,
            limits,
        })
    }

    /// Returns a connection whose credential lives for a third of its time at least.
    ///
    /// Give it back (drop it) after each piece of work: what is kept for hours outlives its credential.
    pub async fn get(&self) -> Result<Client, PgError> {
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

    /// Closes the connections and has Vault take their credentials back. One that is still in use is
    /// closed when it is given back, and its credential is left to end by itself.
    pub async fn close(&self) {
        self.connections.close();
        self.revoker.sweep().await;
    }
}

/// A connection in use; goes back to its pool when it is dropped.
pub struct Client {
    connection: managed::Object<Manager>,
    _in_use: tracing::Span,
}

impl Client {
    /// Returns the name of the login it was opened with.
    pub fn login(&self) -> &str {
        self.connection.login()
    }

    /// Says whether this program and the schema can live with each other, for who connected with
    /// `any_schema`.
    ///
    /// # Errors
    /// `SchemaTooOld` and `ProgramTooOld`.
    pub async fn check_schema(&self, role: &DbRole) -> Result<(), PgError> {
        compat::check(self, role).await
    }

    /// Takes it out of the pool for good: after an error that leaves its state unknown.
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
