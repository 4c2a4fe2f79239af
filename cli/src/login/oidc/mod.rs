//! Single sign-on: a browser goes to the identity provider, and comes back to us.

mod address;
mod callback;
mod device;
mod listener;
mod page;
mod paste;

use std::time::Duration;

use tokio::time::timeout;
use vctl_common::centre::VaultSettings;
use vctl_common::count::counted;
use vctl_common::secret::Secret;
use vctl_common::vault::{self, Granted, VaultError};

use self::address::{Address, Flow};
use self::listener::Listener;
use self::page::Page;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::ask::Interaction;
use crate::ui::notice;

/// How long a person has for the provider's pages.
const PATIENCE: Duration = Duration::from_mins(3);

/// How long the page may take on its way to the browser.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct OidcChoices {
    /// Open no browser: print the address, and also take the one it ends at, pasted here (oidc)
    #[arg(long)]
    no_browser: bool,

    /// Confirm on another device, with a code; for a role of OpenBao with `callback_mode=device` (oidc)
    #[arg(long, conflicts_with_all = ["no_browser", "callback_port"])]
    device: bool,

    /// Where on loopback the browser comes back to; the provider has to allow it (oidc)
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    callback_port: Option<u16>,

    /// Log in with this role instead of `oidc_role` (oidc)
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
}

impl OidcChoices {
    /// Whether any of them is on the command line, which then means single sign-on.
    pub(crate) fn is_given(&self) -> bool {
        self.no_browser || self.device || self.callback_port.is_some() || self.role.is_some()
    }
}

/// One login: with which role, where.
struct Attempt<'a> {
    vault: &'a VaultSettings,
    mount: &'a str,
    role: &'a str,
    /// Made here and told Vault alone: whoever sees everything that passes the browser has not this.
    client_nonce: Secret<String>,
}

pub(super) async fn log_in(
    vault: &VaultSettings,
    config: &Config,
    choices: &OidcChoices,
    interaction: Interaction,
) -> Result<Granted, Stop> {
    if interaction == Interaction::Never {
        let message = "single sign-on needs a person, and there is no terminal to ask one on";
        let hint = "run `vctl login` on a terminal; a job logs in with `--method approle`";
        return Err(CliError::new(Exit::Permission, message).hint(hint).into());
    }
    let attempt = Attempt {
        vault,
        mount: &config.oidc_mount,
        role: choices.role.as_deref().unwrap_or(&config.oidc_role),
        client_nonce: address::nonce()?,
    };
    if choices.device {
        return device::log_in(&attempt).await;
    }
    let port = choices.callback_port.unwrap_or(config.oidc_callback_port);
    attempt.with_browser(port, choices.no_browser).await
}

impl Attempt<'_> {
    async fn with_browser(&self, port: u16, no_browser: bool) -> Result<Granted, Stop> {
        // Before anybody is sent there.
        let listener = match Listener::bind(port).await {
            Ok(listener) => Some(listener),
            // Somebody else answers there; what the browser ends at can still be pasted.
            Err(error) if no_browser => {
                notice::note(&error.message);
                None
            }
            Err(error) => return Err(error.into()),
        };
        let address = self.address(Flow::Browser { port }).await?;
        let mut returns = listener.map(|listener| listener.expect(&address.state));
        notice::done(if no_browser {
            "open this address in a browser:"
        } else {
            "a browser opens for the login; if none does, open this address:"
        });
        notice::set_apart(address.url.as_str());
        let opened = !no_browser && crate::process::browser::open(&address.url).await;
        if !opened && !no_browser {
            notice::note("there is no browser to open here");
        }
        let came = async {
            tokio::select! {
                came = listener::next(&mut returns) => (came.answer, Some(came.browser)),
                // Where we opened one, what is typed meanwhile is for whoever reads after us.
                answer = paste::read(port, &address.state), if !opened => (answer, None),
            }
        };
        let came = timeout(PATIENCE, came).await;
        let (answer, browser) = came.map_err(|_| {
            nobody_came(PATIENCE).hint(
                "run `vctl login` again, or `vctl login --no-browser` where the browser is on another machine",
            )
        })?;
        let done = match answer {
            Ok(code) => self.exchange(address, code).await,
            Err(refusal) => Err(refusal.into()),
        };
        if let Some(browser) = browser {
            let page = match &done {
                Ok(_) => Page::logged_in(),
                Err(Stop::Error(error)) => Page::failed(&error.message),
                Err(_) => Page::failed("vctl was stopped"),
            };
            // Who has not got it by then sees an error of the browser; the login stands.
            let _ = timeout(FAREWELL, browser.show(page)).await;
        }
        done
    }

    /// Hands what the browser brought to Vault, which gives a token for it.
    async fn exchange(&self, address: Address, code: Secret<String>) -> Result<Granted, Stop> {
        let login = vault::Login::Oidc {
            mount: self.mount.to_owned(),
            state: address.state,
            code,
            client_nonce: self.client_nonce.clone(),
        };
        let granted = vault::log_in(self.vault, &login).await;
        granted.map_err(|error| self.not_granted(error))
    }

    fn not_granted(&self, error: VaultError) -> Stop {
        let VaultError::LoginRefused { message, .. } = error else {
            return error.into();
        };
        let (mount, role) = (self.mount, self.role);
        let hint = format!(
            "`auth/{mount}/role/{role}` says which users may log in; an administrator shows it with `vault read auth/{mount}/role/{role}`"
        );
        let message = format!("Vault refuses the login: {message}");
        CliError::new(Exit::Permission, message).hint(hint).into()
    }
}

fn nobody_came(within: Duration) -> CliError {
    let minutes = within.as_secs() / 60;
    let message = format!("no login within {}", counted(minutes, "minute"));
    CliError::new(Exit::Permission, message)
}
