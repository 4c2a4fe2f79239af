//! `vctl rbac group`: lists, shows, creates and deletes groups of users.

use std::io::Write;

use vctl_common::centre::DbRole;
use vctl_common::count::counted;

use super::{Editor, choose, no_group};
use crate::centre::context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::rbac::caller::EVERYONE;
use crate::rbac::model::Group;
use crate::rbac::{json, name, store, store_edit, table};
use crate::ui::ask::confirmed;
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{notice, records};

/// List, show, create and delete groups of users
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
pub(super) struct GroupArgs {
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, clap::Subcommand)]
enum GroupCommand {
    /// List groups with their commands
    List(GroupListArgs),
    /// Show one group with its members
    Show(GroupShowArgs),
    /// Create a group, or change the description of an existing one
    Create(GroupCreateArgs),
    /// Delete a group with its members and grants
    Delete(GroupDeleteArgs),
}

#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac group list            List all groups
  vctl rbac group list -o json    For programs: docs/rbac-json.md")]
struct GroupListArgs {
    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Example:
  vctl rbac group show devs       Show members and commands of devs")]
struct GroupShowArgs {
    /// Name of the group
    #[arg(value_name = "GROUP", value_parser = name::group)]
    group: String,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Example:
  vctl rbac group create devs Developers of the shop")]
struct GroupCreateArgs {
    /// Name of the group: a-z, 0-9, `.`, `_` and `-`
    #[arg(value_name = "GROUP", value_parser = name::group)]
    group: String,

    /// Description; words are joined with spaces
    #[arg(value_name = "DESCRIPTION")]
    description: Vec<String>,
}

#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac group delete devs          Ask for confirmation
  vctl rbac group delete devs --yes    For scripts")]
struct GroupDeleteArgs {
    /// Name of the group
    #[arg(value_name = "GROUP", value_parser = name::group)]
    group: String,

    /// Do not ask for confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(super) fn run(args: &GroupArgs, globals: &Globals) -> Result<(), Stop> {
    match &args.command {
        GroupCommand::List(args) => {
            let groups = read_groups(globals)?;
            Ok(records::print(
                args.output,
                &json::Groups,
                &groups,
                table::write_groups,
            )?)
        }
        GroupCommand::Show(args) => {
            let mut groups = read_groups(globals)?;
            let Some(index) = groups.iter().position(|group| group.name == args.group) else {
                let message = format!("there is no group `{}`", args.group);
                return Err(no_group(message, &groups).into());
            };
            let group = [groups.swap_remove(index)];
            let table = |out: &mut dyn Write, group: &[Group], layout| {
                table::write_group(out, &group[0], layout)
            };
            Ok(records::print(args.output, &json::Groups, &group, table)?)
        }
        GroupCommand::Create(args) => create(args, globals),
        GroupCommand::Delete(args) => delete(args, globals),
    }
}

fn read_groups(globals: &Globals) -> Result<Vec<Group>, Stop> {
    context::run(globals, async |context| {
        let client = context.connect_as(DbRole::Ro).await?;
        Ok(store::groups(&client).await?)
    })
}

fn create(args: &GroupCreateArgs, globals: &Globals) -> Result<(), Stop> {
    let description = (!args.description.is_empty()).then(|| args.description.join(" "));
    let description = description.map(|text| name::description(&text)).transpose();
    let description = description.map_err(|why| CliError::new(Exit::Usage, why))?;
    let name = &args.group;
    let (existed, changed) = context::run(globals, async |context| {
        let editor = Editor::connect(context, "rbac group create").await?;
        let groups = editor.groups().await?;
        let existed = groups.iter().any(|group| group.name == *name);
        let (client, by) = (&editor.client, &editor.by);
        match store_edit::create_group(client, by, name, description.as_deref()).await {
            Ok(changed) => Ok((existed, changed)),
            Err(error) => Err(editor.explain(error).await),
        }
    })?;
    notice::note(&match (existed, changed) {
        (_, false) => format!("the group `{name}` exists already; nothing changed"),
        (false, true) => format!("created the group `{name}`"),
        (true, true) => format!("changed the description of the group `{name}`"),
    });
    Ok(())
}

fn delete(args: &GroupDeleteArgs, globals: &Globals) -> Result<(), Stop> {
    let interaction = globals.interaction();
    if !args.yes {
        let hint = "use `--yes` to delete it without confirmation";
        interaction.require("deleting a group needs confirmation", hint)?;
    }
    let name = &args.group;
    let deleted = context::run(globals, async |context| {
        let editor = Editor::connect(context, "rbac group delete").await?;
        let groups = editor.groups().await?;
        let group = choose::group(Some(name), &groups, |_| true, interaction).await?;
        let members = counted(group.members.len(), "member");
        let grants = counted(group.grants.len(), "grant");
        let question = format!("Delete the group `{name}` with {members} and {grants}?");
        if !args.yes && group.name != EVERYONE && !confirmed(interaction, &question).await? {
            return Ok(false);
        }
        let (client, by) = (&editor.client, &editor.by);
        match store_edit::delete_group(client, by, name).await {
            Ok(()) => Ok(true),
            Err(error) => Err(editor.explain(error).await),
        }
    })?;
    notice::note(&if deleted {
        format!("deleted the group `{name}`; `vctl rbac log` has its members and grants")
    } else {
        "nothing was deleted".to_owned()
    });
    Ok(())
}
