//! Check: does Vault create a database login, and does Postgres accept it?

use std::time::{Duration, UNIX_EPOCH};

use vctl_common::centre::{DbRole, DbSettings};
use vctl_common::pg::{Client, PgError, Pool, PoolLimits};
use vctl_common::time::wall_now;

use super::Finding;
use super::clock::Ahead;
use super::token::Session;

/// A connection of the role `vctl-ro`.
pub(super) struct Store {
    pool: Pool,
    client: Client,
}

impl Store {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Measures the offset of Postgres' clock.
    pub(super) async fn ahead(&self) -> Result<Ahead, PgError> {
        let asked = wall_now();
        let query = "select extract(epoch from clock_timestamp())::float8";
        let row = self.client.query_one(query, &[]).await?;
        let answered = wall_now();
        let time = Duration::try_from_secs_f64(row.try_get(0)?).unwrap_or_default();
        Ok(Ahead::new(UNIX_EPOCH + time, asked, answered))
    }

    /// Revokes the login.
    pub(super) async fn close(self) {
        drop(self.client);
        self.pool.close().await;
    }
}

pub(super) async fn probe(settings: &DbSettings, session: &Session) -> Finding<Store> {
    match connect(settings, session).await {
        Ok(store) => {
            let found = format!("logged in as `{}`", store.client.login());
            Finding::pass(found, store)
        }
        // TCP and TLS are known to work, so the error is about the login.
        Err(error) => Finding::failed(error),
    }
}

async fn connect(settings: &DbSettings, session: &Session) -> Result<Store, PgError> {
    let limits = PoolLimits {
        any_schema: true,
        ..PoolLimits::default()
    };
    let pool = Pool::new(session.vault.clone(), settings, DbRole::Ro, limits)?;
    match pool.get().await {
        Ok(client) => Ok(Store { pool, client }),
        Err(error) => {
            pool.close().await;
            Err(error)
        }
    }
}
