//! `vctl logout`: revokes the token and removes it.

use vctl_common::causes::WithCauses;
use vctl_common::vault::{Auth, Vault, VaultError};

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::commands::session;
use crate::error::{CliError, Stop};
use crate::inventory::cache::{RecentFile, SnapshotFile};
use crate::login::{LOCK_WAIT, Login, db_logins};
use crate::rbac;
use crate::ui::ask::Interaction;
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Log out: revoke the token and remove it from this machine
///
/// Vault also revokes the database credentials that were created with the token. If Vault cannot be
/// reached, vctl removes the token here all the same; in Vault it then expires by itself. If the file of the
/// token cannot be read, vctl removes it and exits with status 1.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl logout           Revoke and remove the token
  vctl logout --all     Also remove cached data, pages and the AppRole")]
pub(crate) struct LogoutArgs {
    /// Also remove the token sink, the AppRole of `vctl login --register`, the pages of
    /// `vctl session --open`, the cached hosts and grants, and what is known about Postgres
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &LogoutArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    context::run_without_store(async {
        let login = Login::new(&loaded, Interaction::Never);
        // Without it, a renewal could write the token again after its removal. A login of minutes is not waited for.
        let lock = login.cache().lock_within(LOCK_WAIT).await;
        if lock.is_none() {
            notice::note("another vctl is logging in: its login is not ended");
        }
        // A token of another server is removed as well, but not sent to this one.
        let (cached, unread) = match login.cache().read_to_revoke() {
            Ok(token) => (token, None),
            Err(error) => (None, Some(error)),
        };
        let binding = login.binding();
        let ours = cached.as_ref().filter(|token| token.is_for(&binding));
        let vault = ours.map(|token| {
            let auth = Auth::Token(token.token.clone());
            Vault::connect(&login.settings().vault, auth)
        });
        let had_token = login.cache().remove()?;
        drop(lock);
        if had_token && unread.is_none() {
            match (vault, &cached) {
                // For example the file of Vault's CA is gone.
                (Some(Err(error)), _) => not_revoked(&error),
                (Some(Ok(vault)), _) => {
                    let held = db_logins::hold_all(login.state()).await;
                    if held.is_incomplete {
                        notice::note(
                            "another command of yours waits for a database login; if it gets one after this logout, \
                             the login stays in Postgres until its lease ends",
                        );
                    }
                    match vault
                        .write("auth/token/revoke-self", &serde_json::json!({}))
                        .await
                    {
                        Ok(_) => notice::done("logged out"),
                        Err(error) => not_revoked(&error),
                    }
                }
                (None, Some(token)) => notice::note(&format!(
                    "logged out here; the token belongs to `{}`, and expires there by itself",
                    token.addr()
                )),
                (None, None) => notice::done("logged out"),
            }
        } else if !had_token {
            notice::note("you were not logged in");
        }
        if args.all {
            login.remove_other_files()?;
            SnapshotFile::in_dir(login.state(), login.settings()).remove()?;
            RecentFile::in_dir(login.state(), login.settings()).remove()?;
            rbac::lookup::remove_cached(login.state())?;
            session::remove_pages(login.state())?;
        }
        match unread {
            Some(error) if had_token => Err(still_valid(error).into()),
            _ => Ok(()),
        }
    })
}

/// Returns the error about a token that was removed here without being revoked.
fn still_valid(mut error: CliError) -> CliError {
    error.causes.insert(0, error.message);
    error.message = String::from(
        "logged out here, but the token was not revoked and expires in Vault by itself",
    );
    error.hint("if another user may have the token, ask an administrator of Vault to revoke it")
}

fn not_revoked(error: &VaultError) {
    notice::note(&format!(
        "logged out here, but the token could not be revoked in Vault: {}",
        WithCauses(error)
    ));
}
