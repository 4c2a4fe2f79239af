//! Looks up the grants of the user of this command: in Postgres, or in the cache while Postgres cannot be asked.

use std::error::Error;
use std::time::Duration;

use jiff::Timestamp;
use vctl_common::centre::DbRole;
use vctl_common::pg::tokio_postgres::Client;
use vctl_common::pg::{PgError, Pool};

use super::cache;
use super::cache::GrantsFile;
use super::caller::CallerGrants;
use super::command::GatedCommand;
use super::scope::Target;
use super::store;
use crate::centre::context::Context;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::files::private_file;
use crate::files::state_dir::StateDir;
use crate::inventory::lookup::HostSource;
use crate::login::Login;
use crate::ssh_ca;
use crate::ui::{notice, time};

/// The grants, or the reason why they are not known.
pub(crate) type LookedUpGrants = Result<CallerGrants, CliError>;

/// Caches the grants that Postgres reported when it recorded a login, so that they are also
/// known in an outage right after it.
pub(crate) fn cache_of_login(login: &Login<'_>, display_name: &str) {
    if let Some(rows) = login.take_grants() {
        let file = GrantsFile::of(login.state(), login.settings(), display_name);
        file.write(&CallerGrants::of(rows), Timestamp::now());
    }
}

/// Removes the cached grants of all users of this state directory.
pub(crate) fn remove_cached(state: &StateDir) -> Result<bool, CliError> {
    private_file::remove(&cache::path(state))
}

/// Returns the grants from the source of a host lookup. With Postgres, the query shares the lookup's round trip.
pub(crate) async fn of_source(context: &Context, source: &HostSource<'_>) -> LookedUpGrants {
    match source {
        HostSource::Postgres(client, _) => of_client(context, client).await,
        HostSource::Cache(_) => cached(context, &PostgresAway::AtLookup).await,
    }
}

/// Returns the grants through a connection that the command also uses for other work.
pub(crate) async fn of_client(context: &Context, client: &Client) -> LookedUpGrants {
    of_answer(context, store::caller_grants(client).await).await
}

/// Returns the grants through a connection of their own, for a command that needs Postgres for nothing else.
pub(crate) async fn with_role(context: &Context, role: DbRole) -> LookedUpGrants {
    let pool = pool_of(context, role)?;
    let answer = async {
        let client = notice::waiting(pool.get()).await?;
        store::caller_grants(&client).await
    };
    of_answer(context, answer.await).await
}

/// Like [`with_role`], and returns the mount of the CA that signs. It is the configured one if Postgres cannot be asked.
pub(crate) async fn with_signing_mount(
    context: &Context,
    role: DbRole,
) -> (String, LookedUpGrants) {
    let configured = context.settings().vault.ssh_mount.clone();
    let pool = match pool_of(context, role) {
        Ok(pool) => pool,
        Err(error) => return (configured, Err(error)),
    };
    let client = match notice::waiting(pool.get()).await {
        Ok(client) => client,
        Err(error) => return (configured, of_answer(context, Err(error)).await),
    };
    let (mount, grants) = tokio::join!(
        ssh_ca::store::signing_mount(&client, &configured),
        of_client(context, &client)
    );
    (mount.unwrap_or(configured), grants)
}

fn pool_of(context: &Context, role: DbRole) -> Result<Pool, CliError> {
    context.pool(role).map_err(|stop| match stop {
        Stop::Error(error) => error,
        _ => CliError::new(Exit::Failure, "cannot connect to Postgres"),
    })
}

/// Returns the grants that Postgres answered, and caches them. During an outage, returns the cached grants.
pub(crate) async fn of_answer(
    context: &Context,
    answer: Result<CallerGrants, PgError>,
) -> LookedUpGrants {
    match answer {
        Ok(grants) => {
            if let Ok(name) = context.display_name().await {
                let file = GrantsFile::of(context.state(), context.settings(), &name);
                file.write(&grants, Timestamp::now());
            }
            Ok(grants)
        }
        // Also while Vault is away: it gives the login for Postgres.
        Err(error) if error.is_away() => cached(context, &error).await,
        Err(PgError::SchemaTooOld(_)) => {
            let error = CliError::new(Exit::Config, "command grants are not initialised");
            Err(error.hint("an administrator must run `vctl migrate`"))
        }
        Err(error) => Err(error.into()),
    }
}

/// The reason why the cached grants are used, if no request for the grants has failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostgresAway {
    #[error("Postgres did not answer the lookup of the host")]
    AtLookup,
    #[error("Postgres did not answer within {} s", .0.as_secs())]
    Slow(Duration),
}

/// Returns the cached grants if they permit a command on this target, and prints their age. A refusal needs the answer
/// of Postgres: a grant may be newer than the cache.
pub(crate) async fn cached_permitting(
    context: &Context,
    command: GatedCommand,
    target: &Target<'_>,
    slow: &PostgresAway,
) -> Option<CallerGrants> {
    let now = Timestamp::now();
    let grants = read_cached(context, now, slow).await.ok()?;
    grants.permitting(command, Some(target))?;
    note_age(&grants, now);
    Some(grants)
}

/// Returns the cached grants, and prints their age.
///
/// # Errors
/// `Unavailable`: the cached grants cannot be used. It has that reason, and the reason why Postgres is not asked.
async fn cached(context: &Context, away: &dyn Error) -> LookedUpGrants {
    let now = Timestamp::now();
    let grants = read_cached(context, now, away).await?;
    note_age(&grants, now);
    Ok(grants)
}

async fn read_cached(context: &Context, now: Timestamp, away: &dyn Error) -> LookedUpGrants {
    let name = context.display_name().await?;
    let file = GrantsFile::of(context.state(), context.settings(), &name);
    file.read(now).map_err(|unusable| {
        let message = "Postgres cannot be asked for the command grants of this user";
        let error = CliError::new(Exit::Unavailable, message);
        error.caused_by(&unusable).caused_by(away)
    })
}

fn note_age(grants: &CallerGrants, now: Timestamp) {
    if let Some(confirmed_at) = grants.confirmed_at {
        let age = time::age(now.duration_since(confirmed_at).unsigned_abs());
        notice::note_once(&format!("using the grants that Postgres confirmed {age}"));
    }
}
