//! Writes changes of the inventory, each in one transaction.

use vctl_common::pg::PgError;
use vctl_common::pg::tokio_postgres::error::SqlState;
use vctl_common::pg::tokio_postgres::{Client, Error, GenericClient, Statement};

use super::{rename, store};
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::change::{HostChange, Jump, NewHost};
use crate::inventory::sync::PlannedHost;

/// Adds a new host.
pub(crate) async fn add(client: &Client, host: &NewHost) -> Result<(), Stop> {
    let statement = include_str!("inventory_add.sql");
    let added = client
        .execute(
            statement,
            &[
                &host.name,
                &host.dc,
                &host.ip,
                &i32::from(host.ssh_port),
                &host.ssh_user,
                &host.jump_via,
                &host.extra_ips,
                &host.ca_role,
                &host.state.word(),
                &host.tags,
            ],
        )
        .await;
    match added {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Err(taken(&host.name)),
        Err(error) => Err(refused(error, host.jump_via.as_deref())),
    }
}

/// Prepares the statement of [`sync`], which runs once for each host.
pub(crate) async fn prepare_sync(client: &Client) -> Result<Statement, Stop> {
    let statement = client.prepare(include_str!("inventory_sync.sql")).await;
    Ok(statement.map_err(PgError::from)?)
}

/// Adds a host of an ssh_config, or updates address and port of an existing host.
pub(crate) async fn sync(
    client: &Client,
    statement: &Statement,
    host: &PlannedHost,
    dc: &str,
    config: &Config,
    answered: bool,
) -> Result<(), Error> {
    let user = host.user.as_ref().unwrap_or(&config.ssh_default_user);
    client
        .execute(
            statement,
            &[
                &host.name,
                &dc,
                &host.ip,
                &i32::from(host.port),
                user,
                &host.jump,
                &config.ca_role,
                &answered,
            ],
        )
        .await
        .map(drop)
}

/// Changes a host, except its name.
pub(crate) async fn edit(client: &mut Client, name: &str, change: &HostChange) -> Result<(), Stop> {
    let transaction = client.transaction().await.map_err(PgError::from)?;
    apply(&transaction, name, change).await?;
    Ok(transaction.commit().await.map_err(PgError::from)?)
}

/// Changes a host and its name. The records of an enrolled host get the new name too. Returns whether they did.
pub(crate) async fn rename(
    client: &mut Client,
    name: &str,
    new_name: &str,
    change: &HostChange,
    by: &str,
) -> Result<bool, Stop> {
    let transaction = client.transaction().await.map_err(PgError::from)?;
    let enrolled = "select exists (select from vctl.servers where hostname = $1::text and enrolled_at is not null)";
    let row = transaction.query_one(enrolled, &[&name]).await;
    let is_enrolled = row.and_then(|row| row.try_get(0)).map_err(PgError::from)?;
    if is_enrolled {
        rename::host(&transaction, by, name, new_name, false).await?;
        apply(&transaction, new_name, change).await?;
    } else {
        apply(&transaction, name, change).await?;
    }
    transaction.commit().await.map_err(PgError::from)?;
    Ok(is_enrolled)
}

async fn apply(
    transaction: &impl GenericClient,
    name: &str,
    change: &HostChange,
) -> Result<(), Stop> {
    let (jump, direct) = match &change.jump {
        None => (None, false),
        Some(Jump::Direct) => (None, true),
        Some(Jump::Through(jump)) => (Some(jump), false),
    };
    let new_name = change.name.as_deref().unwrap_or(name);
    let changed = transaction
        .execute(
            include_str!("inventory_edit.sql"),
            &[
                &name,
                &change.name,
                &change.dc,
                &change.ip,
                &change.ssh_port.map(i32::from),
                &change.ssh_user,
                &jump,
                &direct,
                &change.extra_ips,
                &change.ca_role,
                &change.state.map(crate::inventory::HostState::word),
                &change.tags,
            ],
        )
        .await;
    match changed {
        Ok(0) => return Err(unknown(name)),
        Ok(_) => {}
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            return Err(taken(new_name));
        }
        Err(error) => return Err(refused(error, jump.map(String::as_str))),
    }
    // A loop of jump hosts must be found now, not at the next connection.
    if jump.is_some() {
        store::route(transaction, new_name).await?;
    }
    Ok(())
}

/// Checks that a host exists, and that it is not the jump host of others.
///
/// # Errors
/// `NotFound` for an unknown host, `Failure` for a jump host.
pub(crate) async fn check_deletable(client: &impl GenericClient, name: &str) -> Result<(), Stop> {
    let exists = "select exists (select from vctl.servers where hostname = $1::text)";
    let exists = client.query_one(exists, &[&name]).await;
    if !exists
        .and_then(|row| row.try_get(0))
        .map_err(PgError::from)?
    {
        return Err(unknown(name));
    }
    let through = "select hostname::text from vctl.servers where jump_via = $1::text order by 1";
    let through = client.query(through, &[&name]).await;
    let through: Result<Vec<String>, Error> =
        through.and_then(|rows| rows.iter().map(|row| row.try_get(0)).collect());
    let through = through.map_err(PgError::from)?;
    if let [first, ..] = &through[..] {
        let message = format!("`{name}` is the jump host of {}", listed(&through));
        let hint = format!("set another jump host for them first: `vctl edit {first} --jump NAME`");
        return Err(CliError::new(Exit::Failure, message).hint(hint).into());
    }
    Ok(())
}

/// Deletes a host that is not a jump host.
pub(crate) async fn delete(client: &mut Client, name: &str) -> Result<(), Stop> {
    let transaction = client.transaction().await.map_err(PgError::from)?;
    check_deletable(&transaction, name).await?;
    let statement = "delete from vctl.servers where hostname = $1::text";
    let deleted = transaction.execute(statement, &[&name]).await;
    if deleted.map_err(PgError::from)? == 0 {
        return Err(unknown(name));
    }
    Ok(transaction.commit().await.map_err(PgError::from)?)
}

/// Maximum number of names in an error.
const MOST: usize = 10;

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(MOST).map(|n| format!("`{n}`")).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn unknown(name: &str) -> Stop {
    let message = format!("there is no host `{name}` in the inventory");
    let hint = "`vctl list` shows the hosts";
    CliError::new(Exit::NotFound, message).hint(hint).into()
}

fn taken(name: &str) -> Stop {
    let message = format!("the host `{name}` is already in the inventory");
    let hint = format!("`vctl edit {name}` changes it");
    CliError::new(Exit::Failure, message).hint(hint).into()
}

fn refused(error: Error, jump: Option<&str>) -> Stop {
    match (error.code(), jump) {
        (Some(&SqlState::FOREIGN_KEY_VIOLATION), Some(jump)) => unknown(jump),
        (Some(&SqlState::CHECK_VIOLATION), Some(jump)) => {
            let message = format!("`{jump}` cannot be its own jump host");
            CliError::new(Exit::Usage, message).into()
        }
        _ => PgError::from(error).into(),
    }
}
