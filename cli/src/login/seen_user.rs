//! Records each login with the version of vctl in Postgres, so that administrators see new people.

use std::time::Duration;

use tokio::time::timeout;
use vctl_common::centre::{DbRole, DbSettings};
use vctl_common::pg::{PgError, Pool, PoolLimits};
use vctl_common::vault::Vault;

use crate::error::CliError;
use crate::login;
use crate::login::own_grants;
use crate::login::own_grants::OwnGrant;
use crate::ui::notice;

/// Maximum time of a login for this.
const PATIENCE: Duration = Duration::from_secs(5);

/// Records the login, and returns the user's grants. A failure is not an error: a login also works while Postgres is
/// unreachable.
pub(super) async fn record(
    vault: &Vault,
    db: &DbSettings,
    display_name: &str,
) -> Option<Vec<OwnGrant>> {
    let why = match timeout(PATIENCE, record_in(vault, db, display_name)).await {
        Ok(Ok(grants)) => return grants,
        Ok(Err(error)) => CliError::from(error).one_line(),
        Err(_) => "Postgres does not answer".to_owned(),
    };
    notice::note(&format!(
        "this login could not be recorded in Postgres: {why}"
    ));
    None
}

async fn record_in(
    vault: &Vault,
    db: &DbSettings,
    display_name: &str,
) -> Result<Option<Vec<OwnGrant>>, PgError> {
    let pool = Pool::new(vault.clone(), db, DbRole::Identity, PoolLimits::default())?;
    let client = pool.get().await?;
    // One round trip: the connection sends both queries before it waits.
    let (recorded, grants) = tokio::join!(
        login::seen_user_store::record(&client, display_name),
        own_grants::read(&client)
    );
    drop(client);
    pool.close().await;
    recorded?;
    // A schema before migration 21 has no grants.
    Ok(grants.ok())
}
