//! `vctl delete`

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::completion;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Delete a host from the inventory
///
/// What is on record of it stays. Refused while others are reached through it. A host that will come
/// back is better retired: `vctl edit HOST --state retired`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl delete web-1             Asks first
  vctl delete web-1 --yes       For scripts")]
pub(crate) struct DeleteArgs {
    /// The whole name of the host; asked on a terminal
    #[arg(add = completion::host())]
    host: Option<String>,

    /// Do not ask first
    #[arg(long, short)]
    yes: bool,
}

pub(crate) fn run(args: &DeleteArgs, globals: &Globals) -> Result<(), Stop> {
    let interaction = globals.interaction();
    if !args.yes && interaction == Interaction::Never {
        let message = "there is no terminal to ask on before a host is deleted";
        return Err(CliError::new(Exit::Usage, message)
            .hint("`--yes` deletes it without a question")
            .into());
    }
    let deleted = context::run(globals, async |context| {
        // Before anything is asked: an answer must not turn out to be of no use.
        let mut client = super::to_change(context).await?;
        let name = match &args.host {
            Some(name) => name.clone(),
            None => super::chosen(context, interaction).await?,
        };
        inventory::store_edit::check_deletable(&**client, &name).await?;
        let question = format!("Delete `{name}` from the inventory?");
        if !args.yes && !confirmed(&question).await? {
            return Ok(None);
        }
        inventory::store_edit::delete(&mut client, &name).await?;
        Ok(Some(name))
    })?;
    notice::note(&match deleted {
        Some(name) => format!("`{name}` is deleted"),
        None => "nothing is deleted".to_owned(),
    });
    Ok(())
}
