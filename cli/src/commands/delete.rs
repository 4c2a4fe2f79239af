//! `vctl delete`

use crate::args::TEMPLATE;
use crate::completion;
use crate::context;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::globals::Globals;
use crate::login::{Interaction, confirmed};
use crate::render::{notice, sanitize};
use crate::store;

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
        let message =
            "a host is deleted only when somebody says yes, and there is no terminal to ask on";
        return Err(CliError::new(Exit::Usage, message)
            .hint("say so with `--yes`")
            .into());
    }
    let deleted = context::run(globals, async |context| {
        let name = match &args.host {
            Some(name) => name.clone(),
            None => super::chosen(context, interaction).await?,
        };
        let question = format!("Delete `{}` from the inventory?", sanitize::text(&name));
        if !args.yes && !confirmed(&question).await? {
            return Ok(None);
        }
        let mut client = super::to_change(context).await?;
        store::inventory_edit::delete(&mut client, &name).await?;
        Ok(Some(name))
    })?;
    notice::note(&match deleted {
        Some(name) => format!("`{}` is deleted", sanitize::text(&name)),
        None => "nothing is deleted".to_owned(),
    });
    Ok(())
}
