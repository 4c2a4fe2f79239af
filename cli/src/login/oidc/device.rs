//! Login from another device: Vault polls the provider, and vctl polls Vault.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use vctl_common::vault::{self, Granted, Login, VaultError};

use super::address::{LoginAddress, LoginFlow};
use super::{OidcLogin, timed_out};
use crate::error::Stop;
use crate::ui::notice;

/// Timeout of the login, in Vault and at most providers.
const PATIENCE: Duration = Duration::from_mins(10);

/// Default polling interval, and its increase after `slow_down` (RFC 8628).
const INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn log_in(login: &OidcLogin<'_>) -> Result<Granted, Stop> {
    let address = login.address(LoginFlow::Device).await?;
    notice::done("open this address on any device:");
    notice::set_apart(address.url.as_str());
    if let Some(code) = &address.user_code {
        notice::done("and enter this code:");
        notice::set_apart(code);
    }
    let confirmed = timeout(PATIENCE, login.poll(&address)).await;
    confirmed
        .map_err(|_| timed_out(PATIENCE).hint("run `vctl login --device` again, for a new code"))?
}

impl OidcLogin<'_> {
    /// Polls until the user has confirmed or refused.
    async fn poll(&self, address: &LoginAddress) -> Result<Granted, Stop> {
        let login = Login::OidcPoll {
            mount: self.mount.to_owned(),
            state: address.state.clone(),
            client_nonce: self.client_nonce.clone(),
        };
        let mut interval = match address.poll_interval_s {
            Some(seconds @ 1..=60) => Duration::from_secs(seconds),
            _ => INTERVAL,
        };
        loop {
            sleep(interval).await;
            match vault::log_in(self.vault, &login).await {
                Ok(granted) => return Ok(granted),
                Err(VaultError::LoginRefused { message, .. })
                    if message == "authorization_pending" => {}
                Err(VaultError::LoginRefused { message, .. }) if message == "slow_down" => {
                    interval += INTERVAL;
                }
                // Temporary errors do not matter: the user may still be confirming.
                Err(VaultError::Unreachable { .. } | VaultError::Timeout { .. }) => {}
                Err(error @ VaultError::RateLimited { .. }) => {
                    let after = error.retry_after().unwrap_or(interval);
                    sleep(after).await;
                }
                Err(error) => return Err(self.not_granted(error)),
            }
        }
    }
}
