//! One report to the centre: login, credential, connection, one call.

use anyhow::anyhow;
use vctl_common::causes::WithCauses;
use vctl_common::centre::DbRole;
use vctl_common::enrolment::Enrolment;
use vctl_common::pg::tokio_postgres::types::Json;
use vctl_common::pg::{PgError, Pool, PoolLimits};
use vctl_common::status::Millis;
use vctl_common::time::wall_now;
use vctl_common::vault::Vault;

use super::heart::Outcome;
use super::report::{Report, seconds};
use crate::centre::{Centre, enrolment};

/// A login to Vault as this host.
///
/// The token stays between reports, but the connection does not: thousands of idle connections
/// would cost Postgres more than a new credential every five minutes costs Vault.
pub(super) struct Connection {
    vault: Vault,
    /// The enrolment of this host, once Vault has told it.
    enrolment: Option<Enrolment>,
}

impl Connection {
    /// Logs in. The secret id is read at each login, so a new one takes effect without a restart.
    pub(super) async fn open(centre: &Centre) -> anyhow::Result<Self> {
        let vault = centre.vault().await.map_err(|error| match error.hint() {
            Some(hint) => anyhow!("{} ({hint})", WithCauses(&error)),
            None => anyhow!("{}", WithCauses(&error)),
        })?;
        Ok(Self {
            vault,
            enrolment: None,
        })
    }

    /// Stores one report.
    pub(super) async fn send(
        &mut self,
        centre: &Centre,
        report: &Report,
    ) -> anyhow::Result<Outcome> {
        let told = match self.enrolment.take() {
            Some(enrolment) => Ok(enrolment),
            None => enrolment(&self.vault, &centre.host).await,
        };
        let enrolment = told.map_err(|error| anyhow!("{}", WithCauses(&error)))?;
        let role = DbRole::Status(self.enrolment.insert(enrolment).clone());
        let limits = PoolLimits::default();
        let pool = Pool::new(self.vault.clone(), &centre.settings.db, role, limits);
        let pool = pool.map_err(|error| anyhow!("{}", WithCauses(&error)))?;
        let sent = call(&pool, report).await;
        // Revokes the credential in Vault, so that only credentials in use exist.
        pool.close().await;
        match sent {
            Ok(()) => Ok(Outcome::Stored),
            Err(error @ PgError::NotInInventory(_)) => {
                Ok(Outcome::NotInInventory(error.hint().unwrap_or_default()))
            }
            Err(error) => Err(anyhow!("{}", WithCauses(&error))),
        }
    }

    /// Revokes the token. It would also expire, so the wait for this is short.
    pub(super) async fn farewell(self) {
        let _ = self.vault.revoke_self().await;
    }
}

async fn call(pool: &Pool, report: &Report) -> Result<(), PgError> {
    let client = pool.get().await?;
    // Read last, because Vault and the connection may take seconds.
    let clock = seconds(Millis::from_time(wall_now()));
    client
        .execute(
            include_str!("report_status.sql"),
            &[
                &Json(&report.columns),
                &report.oldest_unshipped_at,
                &report.secret_id_expires_at,
                &clock,
            ],
        )
        .await?;
    Ok(())
}
