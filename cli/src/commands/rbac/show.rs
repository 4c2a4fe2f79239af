//! The parts of `vctl rbac` that only read: users, the user's own grants, the record of changes.

use std::io::Write as _;

use vctl_common::centre::DbRole;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::rbac::model::ChangeFilter;
use crate::rbac::{gate, json, lookup, name, store, table};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, records};

/// List users with their last login, version of vctl and groups
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac users            List users, their last login and their groups
  vctl rbac users -o json    For programs: docs/rbac-json.md")]
pub(super) struct UsersArgs {
    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn users(args: &UsersArgs, globals: &Globals) -> Result<(), Stop> {
    let users = context::run(globals, async |context| {
        let client = context.connect_as(DbRole::Ro).await?;
        Ok(store::users(&client).await?)
    })?;
    if users.is_empty() && args.output.is_for_people() {
        notice::note("no user has logged in yet: `vctl login` records it");
        return Ok(());
    }
    Ok(records::print(
        args.output,
        &json::Users,
        &users,
        table::write_users,
    )?)
}

/// Show your groups and the commands that you may run
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac whoami            Show your groups and grants
  vctl rbac whoami -o name    Print only your grants, one a line")]
pub(super) struct WhoamiArgs {
    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn whoami(args: &WhoamiArgs, globals: &Globals) -> Result<(), Stop> {
    let (info, grants) = context::run(globals, async |context| {
        let info = context.vault().lookup_self().await?;
        let grants = lookup::with_role(context, DbRole::Ro).await?;
        Ok((info, grants))
    })?;
    let admin = gate::admin_policy(&info);
    let mut screen = Screen::for_format(args.output);
    if args.output.is_for_people() {
        let layout = screen.layout(false);
        table::write_caller(&mut screen, &info.display_name, admin, &grants, layout)?;
    } else {
        json::write_caller(&mut screen, args.output, &info.display_name, admin, &grants)?;
    }
    Ok(screen.flush()?)
}

/// List changes of groups and grants, the newest first
///
/// Every change is recorded with its author, and the state before and after it. Rows of the
/// record are never changed or deleted.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl rbac log                   List the last 50 changes
  vctl rbac log --group devs      Only changes of one group
  vctl rbac log -n 0 -o jsonl     All changes, for programs")]
pub(super) struct LogArgs {
    /// Only changes of this group, which may be deleted
    #[arg(long, value_name = "GROUP", value_parser = name::group)]
    group: Option<String>,

    /// Only changes by this user, or that added or removed this user (also the deletion of a group with this user); a
    /// part of the name is enough
    #[arg(long, value_name = "NAME", value_parser = name::user)]
    user: Option<String>,

    /// Maximum number of changes; 0 for all
    #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 50)]
    limit: usize,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(super) fn log(args: &LogArgs, globals: &Globals) -> Result<(), Stop> {
    let filter = ChangeFilter {
        group: args.group.clone(),
        user: args.user.clone(),
        limit: args.limit,
    };
    let changes = context::run(globals, async |context| {
        let client = context.connect_as(DbRole::Ro).await?;
        Ok(store::changes(&client, &filter).await?)
    })?;
    if changes.is_empty() && args.output.is_for_people() {
        notice::note("no recorded change matches");
        return Ok(());
    }
    Ok(records::print(
        args.output,
        &json::Changes,
        &changes,
        table::write_changes,
    )?)
}
