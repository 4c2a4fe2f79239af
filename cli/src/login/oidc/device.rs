//! A login that is confirmed on another device: Vault asks the provider, and we ask Vault.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use vctl_common::vault::{self, Granted, Login, VaultError};

use super::address::{Address, Flow};
use super::{Attempt, nobody_came};
use crate::error::Stop;
use crate::ui::notice;

/// Vault forgets the login then; most providers do, too.
const PATIENCE: Duration = Duration::from_mins(10);

/// Of a server that names no interval, and what is added to one when it asks to be asked less: as
/// RFC 8628 has it.
const INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn log_in(attempt: &Attempt<'_>) -> Result<Granted, Stop> {
    let address = attempt.address(Flow::Device).await?;
    notice::done("open this address on any device:");
    notice::set_apart(address.url.as_str());
    if let Some(code) = &address.user_code {
        notice::done("and enter the code");
        notice::set_apart(code);
    }
    let confirmed = timeout(PATIENCE, attempt.poll(&address)).await;
    confirmed.map_err(|_| {
        nobody_came(PATIENCE).hint("run `vctl login --device` again, for a new code")
    })?
}

impl Attempt<'_> {
    /// Asks until the person has confirmed or refused.
    async fn poll(&self, address: &Address) -> Result<Granted, Stop> {
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
                // The person is at it meanwhile.
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
