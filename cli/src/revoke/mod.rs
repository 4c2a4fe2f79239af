//! `vctl revoke`: ends the access of a user in Vault, on hosts, and for sshd.

mod krl;
mod live_sessions;
mod outcome;
pub(crate) mod sshd_list;
pub(crate) mod steps;
pub(crate) mod store;
mod tokens;
mod user;
mod messages;

use std::time::{Duration, Instant};

use tokio::time::sleep;
use vctl_common::pg::{Client, PgError, Pool};

/// Interval between two looks at a state.
const LOOK: Duration = Duration::from_millis(500);

/// Reads a state or repeats a request, and tries again while Postgres is away, at most for `patience`. Each attempt has a
/// connection of its own from the pool: the command may last longer than the lease of one login. The work must be the same
/// when it is done twice.
async fn patiently<T>(
    pool: &Pool,
    patience: Duration,
    mut work: impl AsyncFnMut(&Client) -> Result<T, PgError>,
) -> Result<T, PgError> {
    let begun = Instant::now();
    loop {
        match pool.with(&mut work).await {
            Err(error) if error.is_retryable() && begun.elapsed() < patience => sleep(LOOK).await,
            done => return done,
        }
    }
}
