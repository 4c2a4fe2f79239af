//! `vctl delete`: removes a host from the inventory.

use super::inventory_change;
use crate::centre::context;
use crate::completion;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::inventory;
use crate::ui::ask::confirmed;
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Delete a host from the inventory
///
/// Its recorded sessions and accesses stay. vctl refuses to delete a host that is the jump host of others.
/// If the host will come back, retire it instead: `vctl edit HOST --state retired`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl delete web-1             Ask for confirmation
  vctl delete web-1 --yes       For scripts")]
pub(crate) struct DeleteArgs {
    /// Exact name of the host; without it, choose one on a terminal
    #[arg(add = completion::host())]
    host: Option<String>,

    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(args: &DeleteArgs, globals: &Globals) -> Result<(), Stop> {
    let interaction = globals.interaction();
    if !args.yes {
        let hint = "use `--yes` to delete it without confirmation";
        interaction.require("deleting a host needs confirmation", hint)?;
    }
    let deleted = context::run(globals, async |context| {
        // Before the question: without this right the answer would be useless.
        let mut client = inventory_change::connect_for_changes(context).await?;
        let name = match &args.host {
            Some(name) => name.clone(),
            None => inventory_change::choose_host(context, interaction).await?,
        };
        inventory::store_edit::check_deletable(&**client, &name).await?;
        let question = format!("Delete `{name}` from the inventory?");
        if !args.yes && !confirmed(interaction, &question).await? {
            return Ok(None);
        }
        inventory::store_edit::delete(&mut client, &name).await?;
        Ok(Some(name))
    })?;
    notice::note(&match deleted {
        Some(name) => format!("deleted `{name}`"),
        None => "nothing was deleted".to_owned(),
    });
    Ok(())
}
