//! `vctl logout`

use vctl_common::vault::{Auth, Vault};

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::error::Stop;
use crate::inventory::cache::{RecentFile, SnapshotFile};
use crate::login::Login;
use crate::ui::ask::Interaction;
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// End the login: revoke its token, and forget it
///
/// With the token end the database credentials that were made with it. A server that cannot be reached
/// does not keep the token on this machine: it ends there by itself.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl logout           End the login
  vctl logout --all     Also forget the token sink, the AppRole of `vctl login --register` and the hosts that are kept")]
pub(crate) struct LogoutArgs {
    /// Also remove the token sink, the AppRole of `vctl login --register` and the hosts of `vctl cache`
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &LogoutArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    context::run_without_store(async {
        let login = Login::new(&loaded, Interaction::Never);
        // Also a token of another server, which is not sent to this one.
        let kept = login.cache().read().unwrap_or_default();
        let ours = login.kept().unwrap_or_default();
        if login.cache().remove()? {
            match (&ours, &kept) {
                (Some(token), _) => {
                    let auth = Auth::Token(token.token.clone());
                    let vault = Vault::connect(&login.settings().vault, auth)?;
                    match vault
                        .write("auth/token/revoke-self", &serde_json::json!({}))
                        .await
                    {
                        Ok(_) => notice::done("logged out"),
                        Err(error) => notice::note(&format!(
                            "logged out here, but Vault could not be told: {error}"
                        )),
                    }
                }
                (None, Some(token)) => notice::note(&format!(
                    "logged out here; the token was one of `{}`, and ends there by itself",
                    token.addr()
                )),
                (None, None) => notice::done("logged out"),
            }
        } else {
            notice::note("there was no login");
        }
        if args.all {
            login.forget_the_rest()?;
            SnapshotFile::in_dir(login.state(), login.settings()).remove()?;
            RecentFile::in_dir(login.state(), login.settings()).remove()?;
        }
        Ok(())
    })
}
