//! Queries for a rotation of the SSH CA.

use std::collections::BTreeSet;
use std::time::SystemTime;

use vctl_common::pg::PgError;
use vctl_common::pg::tokio_postgres::{Client, Error, Row};

use crate::ca_rotation::{CaKey, KeyState, RotationHost, Stage};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ssh_ca::Authority;

/// Returns the stage, and the time by the database's clock.
pub(crate) async fn stage(client: &Client, configured: &str) -> Result<(Stage, SystemTime), Stop> {
    let statement = include_str!("rotation_keys.sql");
    let rows = client.query(statement, &[&configured]).await;
    let keys: Result<Vec<CaKey>, Error> = rows.and_then(|rows| rows.iter().map(key).collect());
    let keys = keys.map_err(PgError::from)?;
    let now = crate::inventory::store::clock(client).await?;
    let stage = Stage::of(&keys, configured).map_err(|error| {
        CliError::new(Exit::Config, "the SSH CA cannot be rotated")
            .caused_by(&error)
            .hint(
                "`vctl migrate` records the CA that signs; the table `vctl.ca_keys` has the recorded ones",
            )
    })?;
    Ok((stage, now))
}

/// Returns the state of a CA, if it is recorded.
pub(crate) async fn state(client: &Client, fingerprint: &str) -> Result<Option<KeyState>, Stop> {
    let sql = "select state from vctl.ca_keys where fingerprint = $1";
    let row = client.query_opt(sql, &[&fingerprint]).await;
    let row = row.map_err(PgError::from)?;
    Ok(row.and_then(|row| KeyState::from_word(row.get(0))))
}

/// Records a CA as the next one, unless there is one already.
pub(crate) async fn record_next(client: &Client, authority: &Authority) -> Result<(), Stop> {
    let statement = include_str!("rotation_enter_next.sql");
    let (fingerprint, line) = (authority.fingerprint(), authority.line());
    let entered = client
        .execute(statement, &[&fingerprint, &line, &authority.mount])
        .await;
    exactly(entered, 1)
}

/// Makes the next CA the active one, in one transaction.
pub(crate) async fn move_signing(
    client: &Client,
    active: &CaKey,
    next: &CaKey,
) -> Result<(), Stop> {
    let statement = include_str!("rotation_move.sql");
    let moved = client
        .execute(statement, &[&active.fingerprint, &next.fingerprint])
        .await;
    exactly(moved, 2)
}

/// Records that a CA was removed.
pub(crate) async fn retire(client: &Client, leaving: &CaKey) -> Result<(), Stop> {
    let sql = "update vctl.ca_keys set state = 'retired', state_since = now() \
               where fingerprint = $1 and state = 'leaving'";
    exactly(client.execute(sql, &[&leaving.fingerprint]).await, 1)
}

/// Returns every host that is not retired, by name.
pub(crate) async fn hosts(client: &Client) -> Result<Vec<RotationHost>, Stop> {
    let rows = client.query(include_str!("rotation_hosts.sql"), &[]).await;
    let hosts: Result<Vec<RotationHost>, Error> =
        rows.and_then(|rows| rows.iter().map(host).collect());
    Ok(hosts.map_err(PgError::from)?)
}

fn exactly(changed: Result<u64, Error>, rows: u64) -> Result<(), Stop> {
    if changed.map_err(PgError::from)? == rows {
        return Ok(());
    }
    let message = "the SSH CA is being rotated by another user";
    let hint = "`vctl ca ssh-rotate --plan` shows the stage of the rotation";
    Err(CliError::new(Exit::TryAgain, message).hint(hint).into())
}

fn key(row: &Row) -> Result<CaKey, Error> {
    let state: &str = row.try_get("state")?;
    Ok(CaKey {
        fingerprint: row.try_get("fingerprint")?,
        line: row.try_get("public_key")?,
        mount: row.try_get("mount")?,
        // The query returns no other states.
        state: KeyState::from_word(state).unwrap_or(KeyState::Retired),
        since: row.try_get("state_since")?,
    })
}

fn host(row: &Row) -> Result<RotationHost, Error> {
    let trusted: Vec<String> = row.try_get("trusted")?;
    Ok(RotationHost {
        name: row.try_get("hostname")?,
        user: row.try_get("ssh_user")?,
        ca_role: row.try_get("ca_role")?,
        trusted: BTreeSet::from_iter(trusted),
        certificate_ca: row.try_get("certificate_ca")?,
    })
}
