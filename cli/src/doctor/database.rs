//! Check: does Vault create a database login, and does Postgres accept it?

use std::time::{Duration, UNIX_EPOCH};

use vctl_common::centre::{DbRole, DbSettings};
use vctl_common::pg::{Client, PgError, Pool, PoolLimits};
use vctl_common::time::wall_now;

use super::CheckResult;
use super::clock::ClockOffset;
use super::token::Session;

/// A connection of the role `vctl-ro`.
pub(super) struct RoConnection {
    pool: Pool,
    client: Client,
}

impl RoConnection {
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Measures the offset of Postgres' clock.
    pub(super) async fn clock_offset(&self) -> Result<ClockOffset, PgError> {
        let asked = wall_now();
        let query = "select extract(epoch from clock_timestamp())::float8";
        let row = self.client.query_one(query, &[]).await?;
        let answered = wall_now();
        let time = Duration::try_from_secs_f64(row.try_get(0)?).unwrap_or_default();
        Ok(ClockOffset::new(UNIX_EPOCH + time, asked, answered))
    }

    /// Revokes the login.
    pub(super) async fn close(self) {
        drop(self.client);
        self.pool.close().await;
    }
}

pub(super) async fn check(settings: &DbSettings, session: &Session) -> CheckResult<RoConnection> {
    match connect(settings, session).await {
        Ok(store) => {
            let found = format!("logged in as `{}`", store.client.login());
            CheckResult::pass(found, store)
        }
        // TCP and TLS are known to work, so the error is about the login.
        Err(error) => CheckResult::failed(error),
    }
}

async fn connect(settings: &DbSettings, session: &Session) -> Result<RoConnection, PgError> {
    let limits = PoolLimits {
        any_schema: true,
        ..PoolLimits::default()
    };
    let pool = Pool::new(session.vault.clone(), settings, DbRole::Ro, limits)?;
    match pool.get().await {
        Ok(client) => Ok(RoConnection { pool, client }),
        Err(error) => {
            pool.close().await;
            Err(error)
        }
    }
}
