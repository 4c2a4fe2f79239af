//! `vctl logout`: revokes the token and removes it.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::timeout;
use vctl_common::causes::WithCauses;
use vctl_common::vault::{Auth, Vault};

use crate::centre::context;
use crate::commands::session;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::inventory::cache::{RecentFile, SnapshotFile};
use crate::login::{LOCK_WAIT, Login, db_logins};
use crate::rbac;
use crate::ssh::Signals;
use crate::ui::ask::Interaction;
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Log out: revoke the token and remove it from this machine
///
/// Vault also revokes the database credentials that were created with the token. If Vault cannot be
/// reached, vctl removes the token from this machine; in Vault the token stays valid until it expires. If vctl cannot
/// read the file of the token, it removes the file and exits with status 1. If vctl cannot remove the file, it revokes
/// the token and also exits with status 1. After vctl has removed the token, a second signal ends vctl before Vault
/// has revoked the token.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl logout           Revoke and remove the token
  vctl logout --all     Also remove cached data, pages and the AppRole")]
pub(crate) struct LogoutArgs {
    /// Also remove the token sink, the AppRole of `vctl login --register`, the last login method, the pages of
    /// `vctl session --open`, the cached hosts and grants, and the file `db-server`
    #[arg(long)]
    all: bool,
}

/// Longest wait for Vault to revoke the token.
const REVOKE: Duration = Duration::from_secs(15);

pub(crate) fn run(args: &LogoutArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let signals = || {
        let failed =
            |error| CliError::new(Exit::Failure, "cannot handle signals").caused_by(&error);
        Signals::take().map_err(failed)
    };
    context::run_to_the_end(notice::waiting(async {
        log_out(args, &Login::new(&loaded, Interaction::Never), &signals()?).await
    }))
}

async fn log_out(args: &LogoutArgs, login: &Login<'_>, signals: &Signals) -> Result<(), Stop> {
    // Without it, a renewal could write the token again after its removal. A login of minutes is not waited for.
    let lock = tokio::select! {
        lock = login.cache().lock_within(LOCK_WAIT) => lock,
        _ = signals.end() => return Err(Stop::Interrupted),
    };
    if lock.is_none() {
        notice::note("another vctl process is logging in; this logout does not end that login");
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
    let removed = login.cache().remove();
    drop(lock);
    // In a read-only home the file stays. That is no reason to leave the token valid.
    let had_token = match &removed {
        Ok(had_token) => *had_token,
        Err(_) => cached.is_some() || unread.is_some(),
    };
    let mut revoked = Ok(false);
    if had_token && unread.is_none() {
        match (vault, &cached) {
            // For example the file of Vault's CA is gone.
            (Some(Err(error)), _) => not_revoked(&WithCauses(&error)),
            (Some(Ok(vault)), _) => revoked = revoke(&vault, login, signals).await,
            (None, Some(token)) => notice::note(&format!(
                "logged out here; the token is for the Vault server `{}`, where it stays valid until it expires",
                token.addr()
            )),
            (None, None) => {}
        }
        if removed.is_ok() && (matches!(revoked, Ok(true)) || cached.is_none()) {
            notice::done("logged out");
        }
    } else if !had_token {
        notice::note("you were not logged in");
    }
    let others = if args.all {
        remove_others(login)
    } else {
        Ok(())
    };
    let is_revoked = revoked?;
    match (removed, unread) {
        (Err(error), _) => return Err(stays(error, is_revoked).into()),
        (Ok(_), Some(error)) if had_token => return Err(still_valid(error).into()),
        _ => {}
    }
    Ok(others?)
}

/// Revokes the token, which is no longer on this machine. Returns whether Vault did so; a failure is a notice. A first
/// signal only ends the wait for other commands: without a token on this machine, no later logout could revoke it.
async fn revoke(vault: &Vault, login: &Login<'_>, signals: &Signals) -> Result<bool, Stop> {
    let (held, was_asked) = tokio::select! {
        held = db_logins::hold_all(login.state()) => (Some(held), false),
        _ = signals.end() => (None, true),
    };
    if held.as_ref().is_none_or(|held| held.is_incomplete) {
        notice::note(
            "another command of yours waits for a database login; if it gets one after this logout, \
             the login stays in Postgres until its lease ends",
        );
    }
    let body = serde_json::json!({});
    let revoking = timeout(REVOKE, vault.write("auth/token/revoke-self", &body));
    let asked_twice = async {
        if !was_asked {
            signals.end().await;
        }
        signals.end_at_once().await
    };
    tokio::select! {
        revoked = revoking => match revoked {
            Ok(Ok(_)) => return Ok(true),
            Ok(Err(error)) => not_revoked(&WithCauses(&error)),
            Err(_) => not_revoked(&format!("no answer within {} s", REVOKE.as_secs())),
        },
        _ = asked_twice => {
            not_revoked(&"a second signal ended the command");
            return Err(Stop::Interrupted);
        }
    }
    Ok(false)
}

/// Removes what only `--all` removes.
fn remove_others(login: &Login<'_>) -> Result<(), CliError> {
    login.remove_other_files()?;
    SnapshotFile::in_dir(login.state(), login.settings()).remove()?;
    RecentFile::in_dir(login.state(), login.settings()).remove()?;
    rbac::lookup::remove_cached(login.state())?;
    session::remove_pages(login.state())
}

/// Returns the error about a token that was removed here without being revoked.
fn still_valid(error: CliError) -> CliError {
    let what =
        "logged out here, but the token was not revoked; in Vault it stays valid until it expires";
    because_of(error, what)
        .hint("if another user may have the token, ask an administrator of Vault to revoke it")
}

/// Returns the error about a file of a token that cannot be removed.
fn stays(error: CliError, is_revoked: bool) -> CliError {
    if is_revoked {
        because_of(error, "the token was revoked in Vault, but its file stays")
    } else {
        because_of(
            error,
            "the token was not revoked in Vault, and its file stays",
        )
        .hint("remove the file; in Vault the token stays valid until it expires")
    }
}

fn because_of(mut error: CliError, message: &str) -> CliError {
    let cause = std::mem::replace(&mut error.message, message.to_owned());
    error.causes.insert(0, cause);
    error
}

fn not_revoked(why: &dyn Display) {
    notice::note(&format!(
        "logged out here, but the token could not be revoked in Vault: {why}"
    ));
}
