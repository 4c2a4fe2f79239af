//! One connection to Postgres that several pieces of work use at the same time.
//!
//! Their statements share round trips: the connection sends the next one before the answer to the last one arrives.

use std::rc::{Rc, Weak};

use tokio::sync::Mutex;
use vctl_common::pg::{Client, PgError, Pool};

use crate::ui::notice;

/// The connection of a pool, for all users of this value. Clones share it.
#[derive(Clone)]
pub(crate) struct SharedConnection {
    pool: Pool,
    /// The connection that is in use. The lock is held while it is opened: a second user waits for it instead of for a
    /// second place in the pool.
    current: Rc<Mutex<Weak<Client>>>,
}

impl SharedConnection {
    pub(crate) fn of(pool: Pool) -> Self {
        Self {
            pool,
            current: Rc::default(),
        }
    }

    /// Returns the connection; prints a notice if connecting takes long. It returns to the pool when its last user drops
    /// it.
    pub(crate) async fn get(&self) -> Result<Rc<Client>, PgError> {
        let mut current = self.current.lock().await;
        let in_use = current.upgrade();
        if let Some(client) = in_use.filter(|client| !client.is_closed()) {
            return Ok(client);
        }
        let client = Rc::new(notice::waiting(self.pool.get()).await?);
        *current = Rc::downgrade(&client);
        Ok(client)
    }

    /// Returns the connection for a transaction, which nothing else may use meanwhile.
    pub(crate) async fn get_alone(&self) -> Result<Client, PgError> {
        self.pool.get().await
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}
