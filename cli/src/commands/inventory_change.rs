//! Steps of the commands that change the inventory: choose a host, connect, change it.

use vctl_common::centre::DbRole;
use vctl_common::pg::Client;

use crate::centre::context::Context;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::inventory::change::HostChange;
use crate::inventory::lookup::{HostLookup, HostSource};
use crate::inventory::picker;
use crate::inventory::picker::PickerContext;
use crate::ui::ask::Interaction;

/// Returns the name of the host that the user chooses, to change it.
pub(super) async fn choose_host(
    context: &Context,
    interaction: Interaction,
) -> Result<String, Stop> {
    let lookup = HostLookup::new(context)?;
    let (hosts, now) = match lookup.open().await? {
        HostSource::Cache(_) => return Err(read_only_error().into()),
        live @ HostSource::Postgres(..) => tokio::join!(live.hosts(), live.clock()),
    };
    let known = PickerContext {
        now: now?,
        recent: lookup.recently_used(),
    };
    Ok(picker::choose(hosts?, &known, interaction).await?.name)
}

/// Returns a connection that may change the inventory. The cache does not help here: it is read-only.
pub(super) async fn connect_for_changes(context: &Context) -> Result<Client, Stop> {
    let connected = context.connect(&context.pool(DbRole::Rw)?).await;
    connected.map_err(|error| {
        if error.is_away() && !error.is_vault_away() {
            read_only_error().caused_by(&error).into()
        } else {
            error.into()
        }
    })
}

/// Changes a host of the inventory. A new name is also that of an enrolled host's records. Returns the notice of a new
/// name.
pub(super) async fn change_host(
    context: &Context,
    client: &mut Client,
    name: &str,
    change: &HostChange,
) -> Result<Option<String>, Stop> {
    let Some(new) = change.name.as_deref().filter(|new| *new != name) else {
        inventory::store_edit::edit(client, name, change).await?;
        return Ok(None);
    };
    let by = context.display_name().await?;
    let with_records = inventory::store_edit::rename(client, name, new, change, &by).await?;
    Ok(Some(if with_records {
        format!(
            "renamed `{name}` to `{new}`, with its records; its agent uses its old credentials until `vctl host rename {name} {new}` replaces them"
        )
    } else {
        format!(
            "renamed `{name}` to `{new}`; if it has records, `vctl host rename {name} {new} --inventory-renamed` renames them too"
        )
    }))
}

fn read_only_error() -> CliError {
    let message = "the inventory cannot be changed while Postgres is unreachable";
    let error = CliError::new(Exit::Unavailable, message);
    error.hint("`vctl list` and `vctl ssh` still work from the cached hosts: `vctl cache status`")
}
