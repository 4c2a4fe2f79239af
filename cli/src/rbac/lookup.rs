//! Looks up the grants of the user of this command: in Postgres, or in the cache while Postgres is unreachable.

use jiff::Timestamp;
use vctl_common::centre::DbRole;
use vctl_common::pg::tokio_postgres::Client;
use vctl_common::pg::{PgError, Pool};

use super::cache::GrantsFile;
use super::caller::CallerGrants;
use super::store;
use crate::centre::context::Context;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::inventory::lookup::HostSource;
use crate::ui::notice;

/// The grants, or the reason why they are not known.
pub(crate) type LookedUpGrants = Result<CallerGrants, CliError>;

/// Returns the grants from the source of a host lookup. With Postgres, the query shares the lookup's round trip.
pub(crate) async fn of_source(context: &Context, source: &HostSource<'_>) -> LookedUpGrants {
    match source {
        HostSource::Postgres(client, _) => of_client(context, client).await,
        HostSource::Cache(_) => cached(context, None).await,
    }
}

/// Returns the grants through a connection that the command also uses for other work.
pub(crate) async fn of_client(context: &Context, client: &Client) -> LookedUpGrants {
    of_answer(context, store::caller_grants(client).await).await
}

/// Returns the grants through a connection of their own, for a command that needs Postgres for nothing else.
pub(crate) async fn with_role(context: &Context, role: DbRole) -> LookedUpGrants {
    let asked = async {
        let pool: Pool = context.pool(role).map_err(|stop| match stop {
            crate::error::Stop::Error(error) => Err(error),
            _ => Err(CliError::new(Exit::Failure, "cannot connect to Postgres")),
        })?;
        let client = notice::waiting(pool.get()).await.map_err(Ok)?;
        store::caller_grants(&client).await.map_err(Ok)
    };
    match asked.await {
        Ok(grants) => of_answer(context, Ok(grants)).await,
        Err(Ok(error)) => of_answer(context, Err(error)).await,
        Err(Err(error)) => Err(error),
    }
}

/// Returns the grants of an answer of Postgres, and caches them; for an outage, the cached ones.
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
        Err(error) if error.is_away() && !error.is_vault_away() => {
            cached(context, Some(&error)).await
        }
        Err(PgError::SchemaTooOld(_)) => {
            let error = CliError::new(Exit::Config, "command grants are not initialised");
            Err(error.hint("an administrator must run `vctl migrate`"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the cached grants, with the reason why Postgres is not used.
pub(crate) async fn cached(context: &Context, away: Option<&PgError>) -> LookedUpGrants {
    let name = context.display_name().await?;
    let file = GrantsFile::of(context.state(), context.settings(), &name);
    file.read(Timestamp::now()).map_err(|unusable| {
        let message = "Postgres is unreachable, so the command grants of this user are not known";
        let error = CliError::new(Exit::Unavailable, message).caused_by(&unusable);
        match away {
            Some(away) => error.caused_by(away),
            None => error,
        }
    })
}
