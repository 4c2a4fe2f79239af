//! Single sign-on with OIDC: the browser logs in at the identity provider, and is redirected to vctl.

mod address;
mod attempt;
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

use self::address::{LoginAddress, LoginFlow};
use self::attempt::OidcLogin;
use self::listener::CallbackListener;
use self::page::LoginPage;
use super::denied;
use crate::config::Config;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::ask::Interaction;
use crate::ui::notice;

/// Timeout for the login at the provider.
const PATIENCE: Duration = Duration::from_mins(3);

/// Timeout to send the final page to the browser.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct OidcChoices {
    /// Do not open a browser: print the address, and accept the final address pasted here (oidc)
    #[arg(long)]
    no_browser: bool,

    /// Confirm on another device with a code; needs an OpenBao role with `callback_mode=device` (oidc)
    #[arg(long, conflicts_with_all = ["no_browser", "callback_port"])]
    device: bool,

    /// Port on loopback for the redirect of the browser; the provider must allow it (oidc)
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    callback_port: Option<u16>,

    /// Vault role to log in with, instead of key oidc_role (oidc)
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
}

impl OidcChoices {
    /// Returns the given options.
    pub(crate) fn given(&self) -> impl Iterator<Item = &'static str> {
        let options = [
            ("--no-browser", self.no_browser),
            ("--device", self.device),
            ("--callback-port", self.callback_port.is_some()),
            ("--role", self.role.is_some()),
        ];
        let given = options.into_iter().filter(|(_, is_given)| *is_given);
        given.map(|(option, _)| option)
    }
}

pub(super) async fn log_in(
    vault: &VaultSettings,
    config: &Config,
    choices: &OidcChoices,
    interaction: Interaction,
) -> Result<Granted, Stop> {
    if let Some(reason) = interaction.refusal() {
        let message = format!("single sign-on opens a browser or prompts, and {reason}");
        let hint = "run `vctl login` on a terminal; in a job, use `--method approle`";
        return Err(CliError::new(Exit::Permission, message).hint(hint).into());
    }
    let login = OidcLogin {
        vault,
        mount: &config.oidc_mount,
        role: choices.role.as_deref().unwrap_or(&config.oidc_role),
        client_nonce: address::nonce()?,
    };
    if choices.device {
        return device::log_in(&login).await;
    }
    let port = choices.callback_port.unwrap_or(config.oidc_callback_port);
    login.with_browser(port, choices.no_browser).await
}

impl OidcLogin<'_> {
    async fn with_browser(&self, port: u16, no_browser: bool) -> Result<Granted, Stop> {
        // Before the address is requested: the port must be free.
        let listener = match CallbackListener::bind(port).await {
            Ok(listener) => Some(listener),
            // The port is in use; the user can still paste the final address.
            Err(error) if no_browser => {
                notice::note(&error.one_line());
                None
            }
            Err(error) => return Err(error.into()),
        };
        let address = self.address(LoginFlow::Browser { port }).await?;
        let mut returns = listener.map(|listener| listener.expect(&address.state));
        notice::done(if no_browser {
            "open this address in a browser:"
        } else {
            "opening a browser for the login; if it does not open, open this address:"
        });
        notice::set_apart(address.url.as_str());
        let opened = !no_browser && crate::process::browser::open(&address.url).await;
        if !opened && !no_browser {
            notice::note("cannot open a browser here");
        }
        let arrived = async {
            tokio::select! {
                arrived = listener::next(&mut returns) => (arrived.answer, Some(arrived.browser)),
                // After opening a browser, vctl does not read the terminal: the input belongs to the next reader.
                answer = paste::read(port, &address.state), if !opened => (answer, None),
            }
        };
        let arrived = timeout(PATIENCE, arrived).await;
        let (answer, browser) = arrived.map_err(|_| {
            timed_out(PATIENCE).hint(
                "run `vctl login` again, or `vctl login --no-browser` if the browser is on another machine",
            )
        })?;
        let done = match answer {
            Ok(code) => self.exchange(address, code).await,
            Err(refusal) => Err(refusal.into()),
        };
        if let Some(browser) = browser {
            let page = match &done {
                Ok(_) => LoginPage::logged_in(),
                Err(Stop::Error(error)) => LoginPage::failed(&error.one_line()),
                Err(_) => LoginPage::failed("vctl was stopped"),
            };
            // If it takes longer, the browser shows an error, but the login is valid.
            let _ = timeout(FAREWELL, browser.show(page)).await;
        }
        done
    }

    /// Exchanges the code for a token at Vault.
    async fn exchange(&self, address: LoginAddress, code: Secret<String>) -> Result<Granted, Stop> {
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
        let hint = if denied::is_denied(&message) {
            denied::DISABLED.to_owned()
        } else {
            format!(
                "the Vault role decides which users may log in: `vault read auth/{mount}/role/{role}`, as an administrator"
            )
        };
        let message = format!("Vault refuses the login: {message}");
        CliError::new(Exit::Permission, message).hint(hint).into()
    }
}

fn timed_out(within: Duration) -> CliError {
    let minutes = within.as_secs() / 60;
    let message = format!("no login within {}", counted(minutes, "minute"));
    CliError::new(Exit::Permission, message)
}
