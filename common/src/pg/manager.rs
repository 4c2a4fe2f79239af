//! Decides whether a connection may still be handed out.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;

use super::compat;
use super::connect::Connected;
use super::error::PgError;
use super::limits::PoolLimits;
use super::revoker::{Revocable, Revoker};
use super::server::Server;
use super::shared::{Found, SharedLogins, Source};
use crate::backoff::random_fraction;
use crate::centre::DbRole;
use crate::vault::{Lease, Vault};

pub(super) struct Manager {
    pub(super) vault: Vault,
    pub(super) server: Server,
    pub(super) role: DbRole,
    pub(super) limits: PoolLimits,
    pub(super) revoker: Arc<Revoker>,
    /// `None`: each connection has a login of its own.
    pub(super) logins: Option<Arc<dyn SharedLogins>>,
}

/// One connection to the server, and its credential.
pub(super) struct Connection {
    // Dropped first: the server cannot drop a login that is in use.
    client: ClientWrapper,
    lease: Revocable,
    max_age: Duration,
}

impl Connection {
    pub(super) fn login(&self) -> &str {
        &self.lease.lease().username
    }

    pub(super) fn client(&self) -> &ClientWrapper {
        &self.client
    }

    pub(super) fn client_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

impl Manager {
    async fn log_in(&self) -> Result<Connected, PgError> {
        let Some(logins) = &self.logins else {
            let lease = async {
                let lease = self.vault.db_credentials(&self.role).await;
                Ok(self.revocable(lease.map_err(PgError::Credential)?))
            };
            return self.server.connect(&self.role, &self.limits, lease).await;
        };
        let mut source = Source::new(logins, &self.vault, &self.role);
        loop {
            let lease = async {
                Ok(match source.lease().await? {
                    Found::Shared(lease) => Revocable::never(lease),
                    Found::Own(lease) => self.revocable(lease),
                })
            };
            let connecting = self.server.connect(&self.role, &self.limits, lease);
            match Box::pin(connecting).await {
                Ok(connected) => return Ok(connected),
                Err(error) => source.after(error, self.limits.wait).await?,
            }
        }
    }

    fn revocable(&self, lease: Lease) -> Revocable {
        Revocable::new(lease, Arc::clone(&self.revoker))
    }
}

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = PgError;

    async fn create(&self) -> Result<Connection, PgError> {
        let Connected {
            client,
            lease,
            compat,
        } = Box::pin(self.log_in()).await?;
        match compat {
            Some(compat) => compat::judge(&self.role, compat)?,
            None if self.limits.any_schema => {}
            None => {
                let checked = compat::check(&client, &self.role);
                self.server.within(checked).await?;
            }
        }
        let max_age = max_age(lease.lease().ttl, self.limits.max_age, random_fraction());
        Ok(Connection {
            client,
            lease,
            max_age,
        })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<PgError> {
        if connection.client.is_closed() {
            return Err(RecycleError::message("it was closed"));
        }
        if connection.lease.lease().age() >= connection.max_age {
            return Err(RecycleError::message("its credential is about to end"));
        }
        // Renews the token while connections are in use, and notices when the token had to be
        // replaced.
        self.vault
            .ensure_valid()
            .await
            .map_err(PgError::Credential)?;
        if !self
            .vault
            .is_of_current_token(connection.lease.lease())
            .await
        {
            return Err(RecycleError::message(
                "its credential ends with an earlier token",
            ));
        }
        Ok(())
    }
}

/// Highest age of a connection with a credential that lives `ttl`: two thirds of `ttl`, or up to a sixth
/// less at random, so that hosts that started together do not renew together.
fn max_age(ttl: Duration, limit: Option<Duration>, chance: f64) -> Duration {
    let own = ttl.mul_f64(2.0 / 3.0 - chance / 6.0);
    limit.map_or(own, |limit| own.min(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_ends_before_the_last_third_of_its_credential() {
        let hour = Duration::from_hours(1);
        assert_eq!(max_age(hour, None, 0.0), Duration::from_mins(40));
        assert_eq!(max_age(hour, None, 1.0), Duration::from_mins(30));
        let limit = Some(Duration::from_mins(5));
        assert_eq!(max_age(hour, limit, 0.5), Duration::from_mins(5));
    }
}
