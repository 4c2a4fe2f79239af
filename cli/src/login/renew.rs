//! Renewal of a token: Vault extends its lifetime, and the cache gets the new one.

use jiff::Timestamp;
use vctl_common::vault::{self, VaultError};

use super::{CachedToken, LOCK_WAIT, Login, TokenAction, TokenLock};
use crate::error::Stop;

/// The result of a renewal.
#[derive(Debug)]
pub(crate) enum Renewed {
    Extended(CachedToken),
    /// The token is valid, but cannot be extended any more.
    AtMaxTtl,
    /// The token is invalid.
    Invalid,
}

impl Renewed {
    fn of(renewed: CachedToken) -> Self {
        match renewed.life.next(Timestamp::now()) {
            TokenAction::Replace => Self::AtMaxTtl,
            TokenAction::Use | TokenAction::Renew => Self::Extended(renewed),
        }
    }
}

impl Login<'_> {
    /// Renews a token, and updates the cache if it has this token.
    ///
    /// # Errors
    /// The server could not be reached.
    pub(crate) async fn renew(
        &self,
        token: &CachedToken,
        lock: &TokenLock,
    ) -> Result<Renewed, Stop> {
        match self.extend(token).await? {
            Ok(renewed) => {
                self.cache.update(&renewed, lock)?;
                Ok(Renewed::of(renewed))
            }
            Err(not_extended) => Ok(not_extended),
        }
    }

    /// Renews the token of a running command, and updates the cache if it has this token. The lock is held only for the
    /// update: a user may be in front of a browser with it for longer than the token is valid.
    ///
    /// # Errors
    /// The server could not be reached.
    pub(crate) async fn renew_for_command(&self, token: &CachedToken) -> Result<Renewed, Stop> {
        match self.extend(token).await? {
            Ok(renewed) => {
                if let Some(lock) = self.cache.lock_within(LOCK_WAIT).await {
                    self.cache.update(&renewed, &lock)?;
                }
                Ok(Renewed::of(renewed))
            }
            Err(not_extended) => Ok(not_extended),
        }
    }

    /// Extends the lifetime of a token in Vault. Returns the token with its new lifetime, or why it has none.
    async fn extend(&self, token: &CachedToken) -> Result<Result<CachedToken, Renewed>, Stop> {
        let asked = Timestamp::now();
        let granted = match vault::renew(&self.settings.vault, &token.token).await {
            Ok(granted) => granted,
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(error @ (VaultError::Tls { .. } | VaultError::Setup { .. })) => {
                return Err(error.into());
            }
            Err(VaultError::TokenInvalid) => return Ok(Err(Renewed::Invalid)),
            // The token is valid, but cannot be renewed.
            Err(_) => return Ok(Err(Renewed::AtMaxTtl)),
        };
        let mut renewed = token.clone();
        renewed.life = token.life.renewed(asked, granted.ttl, granted.renewable);
        Ok(Ok(renewed))
    }
}
