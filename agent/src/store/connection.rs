//! Connection to the centre: this host's identity for Vault, and Postgres.

use std::time::{Duration, SystemTime};

use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError, Pool, PoolLimits};
use vctl_common::spool::SpoolReadError;
use vctl_common::vault::Vault;

use super::secret_id::{Expiry, Keeper};
use super::start::StartError;
use crate::centre::{Centre, EnrolledError, HostLoginError, enrolment};
use crate::config;

/// Time limit for one batch at the centre.
const STATEMENT: Duration = Duration::from_mins(1);
/// Additional time until its answer arrives.
const ON_THE_WAY: Duration = Duration::from_secs(15);

/// Nothing was shipped. All of it is in the spool.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShipError {
    #[error(transparent)]
    Login(#[from] HostLoginError),
    #[error(transparent)]
    Enrolled(#[from] EnrolledError),
    #[error(transparent)]
    Pg(#[from] PgError),
    #[error("Vault or Postgres did not answer within {} s", after.as_secs())]
    Silent { after: Duration },
    #[error("cannot read the spool")]
    Spool(#[from] SpoolReadError),
    #[error(transparent)]
    Start(#[from] StartError),
}

impl ShipError {
    /// Returns the error and its causes in one line, with the next step if it is known.
    pub(super) fn text(&self) -> String {
        config::with_hint(self, self.hint())
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Login(error) => error.hint(),
            Self::Enrolled(error) => error.hint(),
            Self::Pg(error) => error.hint(),
            _ => None,
        }
    }

    /// Returns the pause that the other side asked for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Enrolled(EnrolledError::Vault(error)) | Self::Pg(PgError::Credential(error)) => {
                error.retry_after()
            }
            Self::Login(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Returns whether the server had no free connection.
    pub(super) fn is_crowded(&self) -> bool {
        matches!(self, Self::Pg(PgError::TooManyConnections { .. }))
    }

    /// Returns whether smaller batches may help.
    pub(super) fn is_too_much(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            // Ended by the statement's time limit, lack of memory and the like.
            Self::Pg(error) => error
                .db_error()
                .is_some_and(|db| ["57014", "53200", "54000"].contains(&db.code().code())),
            _ => false,
        }
    }
}

/// Connects at its first use.
pub(super) struct Connection {
    vault: Vault,
    pool: Pool,
    keeper: Keeper,
}

impl Connection {
    pub(super) async fn open(centre: &Centre) -> Result<Self, ShipError> {
        let vault = centre.vault().await?;
        let limits = PoolLimits {
            statement_timeout: Some(STATEMENT),
            ..PoolLimits::default()
        };
        let enrolment = enrolment(&vault, &centre.host).await?;
        let keeper = Keeper::new(
            &centre.secret_id_file,
            &centre.approle_mount,
            enrolment.approle(),
        );
        let role = DbRole::AuditIngest(enrolment);
        let pool = match Pool::new(vault.clone(), &centre.settings.db, role, limits) {
            Ok(pool) => pool,
            Err(error) => {
                // Each attempt would leave a token behind.
                let _ = vault.revoke_self().await;
                return Err(error.into());
            }
        };
        Ok(Self {
            vault,
            pool,
            keeper,
        })
    }

    pub(super) async fn client(&self) -> Result<Client, ShipError> {
        Ok(self.pool.get().await?)
    }

    /// Checks the secret id from time to time.
    pub(super) async fn look_after_secret_id(&mut self, now: SystemTime) -> Option<Expiry> {
        self.keeper.look(&self.vault, now).await
    }

    /// Revokes the credentials from the centre.
    pub(super) async fn close(&self) {
        self.pool.close().await;
        let _ = self.vault.revoke_self().await;
    }
}

/// Waits for the centre's answer, up to the limit.
pub(super) async fn answer<T>(
    call: impl Future<Output = Result<T, PgError>>,
) -> Result<T, ShipError> {
    let after = STATEMENT + ON_THE_WAY;
    match tokio::time::timeout(after, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(ShipError::Silent { after }),
    }
}
