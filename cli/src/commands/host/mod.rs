//! `vctl host`: creates, lists and revokes the Vault identities of hosts, and renames hosts.

mod enroll;
mod install;
mod list;
mod refusal;
mod rename;

use std::io::Write as _;

use vctl_common::enrolment::Enrolment;
use vctl_common::host::HostName;

use self::enroll::EnrollArgs;
use self::list::ListArgs;
use self::refusal::{check_all_removed, reserved};
use self::rename::RenameArgs;
use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::host_identity::{FoundEnrolment, HostIdentity};
use crate::completion;
use crate::config::globals::Globals;
use crate::enrolled;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Create, list, rename or revoke the identities of hosts
///
/// Needs the policy `vctl-enroll`. A user with this policy can get any right in the database.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl host enroll web-1                     Create an identity
  vctl host enroll web-2 --create --ip IP    Also add the host to the inventory
  vctl host enroll web-1 --out web-1.json    Write it to a file, for automation
  vctl host list                             List the identities of hosts
  vctl host rename web-1 www-1               Rename a host, with its records
  vctl host revoke web-1                     Revoke the identity at once")]
pub(crate) struct HostArgs {
    #[command(subcommand)]
    command: HostCommand,

    /// Mount path of AppRoles in Vault [default: key approle_mount, approle]
    #[arg(long, global = true, value_name = "MOUNT")]
    approle_mount: Option<String>,
}

#[derive(Debug, clap::Subcommand)]
enum HostCommand {
    Enroll(EnrollArgs),
    List(ListArgs),
    Rename(RenameArgs),
    Revoke(RevokeArgs),
}

/// Revoke the identity of a host in Vault and Postgres
///
/// Ends its secret ids (wrapped or not), its tokens and its database logins. They stay invalid when the
/// host is enrolled again. Its records and its place in the inventory stay.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
struct RevokeArgs {
    /// Name of the host
    #[arg(add = completion::host())]
    host: HostName,
}

pub(crate) fn run(args: &HostArgs, globals: &Globals) -> Result<(), Stop> {
    let mut loaded = globals.load()?;
    if let Some(mount) = &args.approle_mount {
        loaded.config.approle_mount.clone_from(mount);
    }
    if let HostCommand::List(args) = &args.command {
        return list::run(args, globals, &loaded.config.approle_mount);
    }
    let mut screen = Screen::for_people();
    context::run(globals, async |context| {
        let mount = &loaded.config.approle_mount;
        let identity = |host| {
            let identity = HostIdentity::new(context.vault(), mount, host);
            identity.ok_or_else(|| reserved(host))
        };
        match &args.command {
            HostCommand::Enroll(args) => {
                let identity = identity(args.host())?;
                enroll::run(context, &loaded, args, &identity, &mut screen).await
            }
            HostCommand::Revoke(args) => {
                let identity = identity(&args.host)?;
                revoke(context, mount, args, &identity, &mut screen).await
            }
            HostCommand::Rename(args) => {
                rename::run(context, &loaded, args, globals, &mut screen).await
            }
            HostCommand::List(_) => Ok(()),
        }
    })?;
    Ok(screen.flush()?)
}

async fn revoke(
    context: &Context,
    mount: &str,
    args: &RevokeArgs,
    identity: &HostIdentity<'_>,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let host = &args.host;
    let mut found = identity.enrolments().await?;
    let mut enrolments: Vec<_> = found.iter().map(|found| found.enrolment.clone()).collect();
    // The logins outlive their roles if an older vctl was interrupted.
    let older = Enrolment::without_generation(host);
    if !enrolments.contains(&older) {
        enrolments.push(older);
    }
    let mut left = Vec::new();
    for enrolment in &enrolments {
        left.extend(identity.revoke(enrolment).await);
    }
    // Credentials from before a rename belong to the host too. Without Postgres, those with its present name must still
    // be revoked.
    let former = enrolled::store::former_names(context, host).await;
    for name in former.iter().flatten() {
        let Some(identity) = HostIdentity::new(context.vault(), mount, name) else {
            continue;
        };
        for one in identity.enrolments().await? {
            left.extend(identity.revoke(&one.enrolment).await);
            found.push(one);
        }
    }
    check_all_removed(host, left)?;
    former?;
    let noted = enrolled::store_edit::note_enrolled(context, host, false).await;
    noted.inspect_err(|_| {
        notice::note(&format!(
            "`{host}` is revoked in Vault, but still marked as enrolled in the inventory"
        ));
    })?;
    if found.is_empty() {
        let message = format!("host `{host}` is not enrolled");
        return Err(CliError::new(Exit::NotFound, message).into());
    }
    for found in &found {
        let logins = enrolled::store::logins(context, &found.enrolment).await?;
        if !logins.is_empty() {
            return Err(outlived(host, &logins));
        }
    }
    writeln!(screen, "host `{host}` is revoked")?;
    for FoundEnrolment { enrolment, .. } in &found {
        writeln!(
            screen,
            "removed AppRole `{enrolment}` with its secret ids, database roles, logins and connections"
        )?;
    }
    Ok(())
}

fn outlived(host: &HostName, logins: &[String]) -> Stop {
    let names: Vec<_> = logins.iter().map(|login| format!("`{login}`")).collect();
    let message = format!(
        "host `{host}` is revoked in Vault, but its logins still exist in Postgres: {}",
        names.join(", ")
    );
    CliError::new(Exit::Failure, message)
        .hint("disable them as a superuser of Postgres: alter role \"LOGIN\" nologin")
        .into()
}
