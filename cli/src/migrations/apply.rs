//! Applies migrations: one at a time, by one client at a time, each completely or not at all.
//!
//! refinery was considered: it has no check paired with each migration, does not report which
//! client holds the lock, and does not change the role.

use std::time::Duration;

use vctl_common::pg::tokio_postgres::error::{DbError, ErrorPosition, SqlState};
use vctl_common::pg::{Client, PgError};

use super::Migration;
use super::ledger::Applied;

/// "vctl" in ASCII, and 1 for migrations: the advisory lock on which other migrating clients wait.
///
/// Every login can take this lock, unless `setup.sh` revoked that from PUBLIC. It only keeps older versions of vctl
/// out, and is ignored when a login that may not migrate holds it. Migrations exclude each other by the lock on the
/// ledger, in the transaction of each.
const LOCK: (i32, i32) = (0x7663_746c, 1);
/// Number of attempts for a migration that waits for other transactions, 5 seconds each. While it waits, later
/// queries wait behind it.
const ATTEMPTS: u32 = 6;

/// Error of a migration, of its check, or of the preparation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    #[error("{}", match holder {
        Some(login) => format!("`{login}` is migrating this database and has not finished within {wait_s} s"),
        None => format!("another client is migrating this database and has not finished within {wait_s} s"),
    })]
    Locked { holder: Option<String>, wait_s: u64 },
    #[error("the role that owns the schema, or one of the group roles, is missing")]
    NoRoles(#[source] PgError),
    #[error("migration `{name}` failed{}; all its changes were rolled back", at(*line))]
    Failed {
        name: &'static str,
        line: Option<usize>,
        #[source]
        source: PgError,
    },
    #[error(
        "migration `{name}` waits for the transaction of another login{}",
        held_by(holders)
    )]
    Held {
        name: &'static str,
        holders: Vec<String>,
    },
    #[error("the check of `{name}` failed: an object that it created is missing or was changed")]
    Check {
        name: &'static str,
        #[source]
        source: PgError,
    },
    #[error(transparent)]
    Pg(#[from] PgError),
}

fn held_by(holders: &[String]) -> String {
    if holders.is_empty() {
        return String::new();
    }
    format!(": `{}`", holders.join("`, `"))
}

fn at(line: Option<usize>) -> String {
    line.map(|line| format!(" at line {line}"))
        .unwrap_or_default()
}

impl From<vctl_common::pg::tokio_postgres::Error> for MigrateError {
    fn from(error: vctl_common::pg::tokio_postgres::Error) -> Self {
        Self::Pg(error.into())
    }
}

/// Returns the applied migrations; empty for a database without a ledger.
pub(crate) async fn applied(client: &Client) -> Result<Vec<Applied>, PgError> {
    let has_ledger = client
        .query_one(include_str!("sql/has_ledger.sql"), &[])
        .await?;
    if !has_ledger.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client.query(include_str!("sql/applied.sql"), &[]).await?;
    let applied = rows.iter().map(|row| Applied {
        version: row.get(0),
        name: row.get(1),
        sha256: row.get(2),
        at: row.get(3),
        by: row.get(4),
    });
    Ok(applied.collect())
}

/// Switches to `owner`, the role that owns the schema, and takes the lock until the connection ends.
/// `waiting` is called once with the holder's name, if another client holds the lock.
pub(crate) async fn begin(
    client: &Client,
    owner: &str,
    wait: Duration,
    waiting: impl FnOnce(Option<&str>),
) -> Result<(), MigrateError> {
    // Names in migrations are qualified; the search path additionally keeps objects in `public` out.
    // The role name from the configuration contains no quotes.
    let become_owner = format!("set role \"{owner}\"; set search_path = pg_catalog, pg_temp");
    client
        .batch_execute(&become_owner)
        .await
        .map_err(no_roles)?;
    lock(client, wait, waiting).await?;
    client
        .batch_execute(include_str!("sql/ledger.sql"))
        .await
        .map_err(no_roles)
}

async fn lock(
    client: &Client,
    wait: Duration,
    waiting: impl FnOnce(Option<&str>),
) -> Result<(), MigrateError> {
    let keys: [&(dyn vctl_common::pg::tokio_postgres::types::ToSql + Sync); 2] = [&LOCK.0, &LOCK.1];
    let got = client
        .query_one("select pg_try_advisory_lock($1, $2)", &keys)
        .await?;
    if got.get(0) {
        return Ok(());
    }
    // The lock of a login that may not migrate is ignored.
    let Some(holder) = holder(client).await? else {
        return Ok(());
    };
    waiting(Some(&holder));
    let holder = Some(holder);
    let limit = format!("set lock_timeout = {}", wait.as_millis().max(1));
    client.batch_execute(&limit).await?;
    match client
        .execute("select pg_advisory_lock($1, $2)", &keys)
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            Err(MigrateError::Locked {
                holder,
                wait_s: wait.as_secs(),
            })
        }
        Err(error) => Err(error.into()),
    }
}

async fn holder(client: &Client) -> Result<Option<String>, PgError> {
    let (class, object) = (i64::from(LOCK.0), i64::from(LOCK.1));
    let query = include_str!("sql/lock_holder.sql");
    let row = client.query_opt(query, &[&class, &object]).await?;
    Ok(row.and_then(|row| row.get(0)))
}

fn no_roles(error: vctl_common::pg::tokio_postgres::Error) -> MigrateError {
    let missing = [
        SqlState::UNDEFINED_OBJECT,
        SqlState::INVALID_PARAMETER_VALUE,
    ];
    let no_role = error.code().is_some_and(|code| missing.contains(code));
    let error = PgError::from(error);
    if no_role {
        MigrateError::NoRoles(error)
    } else {
        MigrateError::Pg(error)
    }
}

/// Applies one migration and records it, in one transaction. Returns false if another client applied it in the
/// meantime.
///
/// # Errors
/// `Held`, if a transaction of another login did not end in time; the migration is rolled back.
pub(crate) async fn apply(
    client: &mut Client,
    migration: &Migration,
) -> Result<bool, MigrateError> {
    for _ in 1..ATTEMPTS {
        match attempt(client, migration).await {
            Err(error) if is_held(&error) => {}
            done => return done,
        }
    }
    match attempt(client, migration).await {
        Err(error) if is_held(&error) => Err(MigrateError::Held {
            name: migration.name,
            holders: holders(client).await?,
        }),
        done => done,
    }
}

fn is_held(error: &MigrateError) -> bool {
    let (MigrateError::Failed { source, .. } | MigrateError::Pg(source)) = error else {
        return false;
    };
    let code = source.db_error().map(DbError::code);
    code == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

async fn holders(client: &Client) -> Result<Vec<String>, PgError> {
    let rows = client
        .query(include_str!("sql/table_holders.sql"), &[])
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn attempt(client: &mut Client, migration: &Migration) -> Result<bool, MigrateError> {
    let failed = |error: vctl_common::pg::tokio_postgres::Error| MigrateError::Failed {
        name: migration.name,
        line: line_of(&error, migration.sql),
        source: error.into(),
    };
    let transaction = client.transaction().await?;
    // A waiting lock request blocks all later ones: better to fail and be run again.
    transaction
        .batch_execute(include_str!("sql/lock_ledger.sql"))
        .await?;
    let version = migration.version();
    let applied = "select exists (select from vctl.schema_migration where version = $1)";
    if transaction.query_one(applied, &[&version]).await?.get(0) {
        return Ok(false);
    }
    transaction
        .batch_execute(migration.sql)
        .await
        .map_err(failed)?;
    let sha256 = migration.sha256();
    let record = include_str!("sql/record.sql");
    transaction
        .execute(record, &[&version, &migration.name, &sha256])
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(true)
}

/// Runs the check of one migration, read-only.
pub(crate) async fn check(client: &mut Client, migration: &Migration) -> Result<(), MigrateError> {
    let transaction = client.build_transaction().read_only(true).start().await?;
    let checked = transaction.batch_execute(migration.check).await;
    checked.map_err(|error| MigrateError::Check {
        name: migration.name,
        source: error.into(),
    })?;
    transaction.rollback().await?;
    Ok(())
}

fn line_of(error: &vctl_common::pg::tokio_postgres::Error, sql: &str) -> Option<usize> {
    // The position counts characters, from 1.
    let Some(ErrorPosition::Original(position)) = error.as_db_error()?.position() else {
        return None;
    };
    let before = sql.chars().take(usize::try_from(*position).ok()?);
    Some(before.filter(|&c| c == '\n').count() + 1)
}
