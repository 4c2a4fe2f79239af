//! `vctl host rename`: renames a host with its records, and creates an identity with the new name.

use std::io::Write as _;

use vctl_common::centre::DbRole;
use vctl_common::host::HostName;

use super::enroll::current;
use super::install::{InstallArgs, Installation};
use super::refusal::{check_all_removed, reserved};
use crate::centre::context::Context;
use crate::centre::host_identity::{FoundEnrolment, HostIdentity};
use crate::completion;
use crate::config::Loaded;
use crate::config::globals::Globals;
use crate::enrolled;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory;
use crate::inventory::rename::{RenameError, Renamed};
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Rename a host, with its records and its Vault identity
///
/// Past and future records belong to one host, and both names find them. The host ships its records without
/// a break: its old credentials work until the new ones are installed. Afterwards, run the same command again to
/// revoke the old credentials. The command also completes a rename that was interrupted. Rename a host that ships
/// through NATS only after its first batch is stored.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl host rename web-1 www-1                        Rename the host
  vctl host rename web-1 www-1 --out www-1.json       Credentials to a file
  vctl host rename web-1 www-1                        Later: revoke the old
  vctl host rename web-1 www-1 --inventory-renamed    Complete `vctl edit`")]
pub(super) struct RenameArgs {
    /// Present name of the host
    #[arg(add = completion::host())]
    host: HostName,

    /// New name of the host
    #[arg(value_name = "NEW")]
    new_name: HostName,

    /// State that the host NEW of the inventory is this host, renamed with `vctl edit --name`
    #[arg(long)]
    inventory_renamed: bool,

    /// Revoke the old credentials without looking for a login with the new ones
    #[arg(long)]
    revoke_old: bool,

    #[command(flatten)]
    install: InstallArgs,
}

pub(super) async fn run(
    context: &Context,
    loaded: &Loaded,
    args: &RenameArgs,
    globals: &Globals,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let (old, new) = (&args.host, &args.new_name);
    let mount = &loaded.config.approle_mount;
    let identity = |host| HostIdentity::new(context.vault(), mount, host);
    let old_identity = identity(old).ok_or_else(|| reserved(old))?;
    let new_identity = identity(new).ok_or_else(|| reserved(new))?;
    // Before anything changes: without the policy the rename would stop halfway.
    let former = old_identity.enrolments().await?;
    let existing = new_identity.enrolments().await?;

    let is_done = enrolled::store::former_names(context, new)
        .await?
        .contains(old);
    if !is_done {
        let by_edit = rename(context, args, globals, &existing).await?;
        notice::note(&if by_edit {
            format!("the records of `{old}` are now those of `{new}`")
        } else {
            format!("renamed `{old}` to `{new}`, with its records")
        });
        after(context, old, new).await?;
    }
    if former.is_empty() {
        let said = match (is_done, existing.is_empty()) {
            (_, true) => {
                format!("host `{new}` has no identity: `vctl host enroll {new}` creates one")
            }
            (true, false) => {
                format!("host `{old}` is already renamed to `{new}`; nothing is left to do")
            }
            (false, false) => format!("host `{new}` keeps its identity"),
        };
        writeln!(screen, "{said}")?;
        return Ok(());
    }
    if let Some(used) = existing.iter().find(|found| found.has_approle) {
        if args.revoke_old || enrolled::store::in_use(context, &used.enrolment, &former).await? {
            return revoke(&old_identity, old, new, &former, screen).await;
        }
        notice::note(&format!(
            "the newest database login of this host is not one of `{new}`, so the credentials of `{old}` stay valid and `{new}` gets another secret id; if the new credentials are installed and the host is idle, use `--revoke-old`"
        ));
    }
    let install = Installation::prepare(&args.install, new, Some(old), &loaded.config)?;
    let enrolment = current(&new_identity, new).await?;
    enrolled::store_edit::note_enrolled(context, new, true).await?;
    install
        .deliver(context, &loaded.config, &new_identity, &enrolment, screen)
        .await?;
    if args.revoke_old {
        return revoke(&old_identity, old, new, &former, screen).await;
    }
    writeln!(
        screen,
        "\nUntil then the host ships with its old credentials. Afterwards, revoke them: vctl host rename {old} {new}"
    )?;
    Ok(())
}

/// Renames the host in the database. Returns whether the inventory had the new name before.
async fn rename(
    context: &Context,
    args: &RenameArgs,
    globals: &Globals,
    existing: &[FoundEnrolment],
) -> Result<bool, Stop> {
    let (old, new) = (&args.host, &args.new_name);
    let by = context.display_name().await?;
    let client = context.connect_as(DbRole::Rw).await?;
    let mut is_renamed = args.inventory_renamed;
    loop {
        // An identity of an earlier host `new` would become an identity of this host.
        if !is_renamed && let Some(found) = existing.first() {
            let message = format!("`{new}` has an identity already: `{}`", found.enrolment);
            let hint = format!(
                "if it is of an earlier host, run `vctl host revoke {new}` first; if it is of `{old}`, use `--inventory-renamed`"
            );
            return Err(CliError::new(Exit::Failure, message).hint(hint).into());
        }
        match inventory::rename::host(&**client, &by, old.as_str(), new.as_str(), is_renamed).await
        {
            Ok(Renamed::Now | Renamed::Before) => return Ok(is_renamed),
            Err(RenameError::ByInventory(error)) => {
                let question = format!("Is `{new}` the host that was `{old}`?");
                let interaction = globals.interaction();
                let is_asked = interaction == Interaction::Allowed;
                if !is_asked || !confirmed(interaction, &question).await? {
                    let hint = format!(
                        "if `vctl edit {old} --name {new}` renamed the host: `vctl host rename {old} {new} --inventory-renamed`"
                    );
                    return Err(error.hint(hint).into());
                }
                is_renamed = true;
            }
            Err(RenameError::Other(error)) => return Err(error.into()),
        }
    }
}

/// Reports what still has the old name.
async fn after(context: &Context, old: &HostName, new: &HostName) -> Result<(), Stop> {
    let left = enrolled::store::old_name_left(context, old, new).await?;
    if left.has_certificate {
        notice::note(&format!(
            "the host certificate of `{new}` names `{old}`: `vctl ca host-cert {new}` signs it again"
        ));
    }
    if !left.scopes.is_empty() {
        notice::note(&format!(
            "grants still name `{old}`: {}; see `vctl rbac group list`",
            left.scopes.join(", ")
        ));
    }
    Ok(())
}

async fn revoke(
    identity: &HostIdentity<'_>,
    old: &HostName,
    new: &HostName,
    former: &[FoundEnrolment],
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut left = Vec::new();
    for found in former {
        left.extend(identity.revoke(&found.enrolment).await);
    }
    check_all_removed(old, left)?;
    writeln!(
        screen,
        "host `{old}` is renamed to `{new}`; its old credentials are revoked"
    )?;
    Ok(())
}
