//! `vctl revoke`

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use vctl_common::centre::DbRole;

use crate::centre::context;
use crate::commands::{duration_arg, reason_arg};
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::revoke::sshd_list;
use crate::revoke::steps::Revocation;
use crate::ui::ask::confirmed;
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Revoke the access of a user
///
/// Disables the user in Vault, revokes the user's tokens with their database logins, and ends the live sessions on
/// their hosts. `--krl` writes a list with which sshd refuses certificates that are already signed. vctl lists each
/// part that it could not revoke. Run the command again to revoke the rest. The revocation, its reason and its result
/// are recorded. Needs the Vault policy `vctl-revoke`.
///
/// docs/live.md explains how to install the list, and how to give the access back.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl revoke albert --dry-run                      Show the access of the user
  vctl revoke albert --krl revoked.krl              Ask, then revoke everything
  vctl revoke oidc-albert --yes --reason INC-42     For scripts
  vctl revoke --krl revoked.krl                     Write the list again",
after_help = "\
Exit status: 0 when everything is revoked, 1 when a part was not reached,
66 when the user is not known.")]
pub(crate) struct RevokeArgs {
    /// Name of the user: `albert`, or with the login method: `oidc-albert`
    #[arg(value_name = "USER", required_unless_present = "krl")]
    user: Option<String>,

    /// Write a key revocation list for `RevokedKeys` of sshd to this file
    #[arg(long, value_name = "FILE")]
    krl: Option<PathBuf>,

    /// Reason for the record
    #[arg(long, value_name = "TEXT", requires = "user", value_parser = reason_arg::reason)]
    reason: Option<String>,

    /// Show the access, and revoke nothing
    #[arg(long, requires = "user", conflicts_with = "krl")]
    dry_run: bool,

    /// Do not ask for confirmation; needed without a terminal
    #[arg(long, short, requires = "user", conflicts_with = "dry_run")]
    yes: bool,

    /// Time to wait for the answers of the hosts
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration_arg::wait, requires = "user", conflicts_with = "dry_run")]
    wait: Duration,
}

pub(crate) fn run(args: &RevokeArgs, globals: &Globals) -> Result<(), Stop> {
    let Some(name) = &args.user else {
        return write_list(args, globals);
    };
    let interaction = globals.interaction();
    if !args.yes && !args.dry_run {
        let hint = "look with `--dry-run`, then use `--yes`";
        interaction.require("revoking access needs confirmation", hint)?;
    }
    context::run(globals, async |context| {
        let revocation = Revocation::find(context, name).await?;
        revocation.print_plan();
        if args.dry_run {
            return Ok(());
        }
        let question = format!("Revoke the access of {}?", revocation.names());
        if !args.yes && !confirmed(interaction, &question).await? {
            notice::note("nothing was revoked");
            return Ok(());
        }
        let (reason, krl) = (args.reason.as_deref(), args.krl.as_deref());
        revocation.revoke(reason, args.wait, krl).await
    })
}

fn write_list(args: &RevokeArgs, globals: &Globals) -> Result<(), Stop> {
    let Some(path) = &args.krl else { return Ok(()) };
    context::run(globals, async |context| {
        let client = context.connect_as(DbRole::Revoke).await?;
        Ok(sshd_list::write(&client, path, &BTreeSet::new()).await?)
    })
}
