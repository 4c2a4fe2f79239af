//! Gives credentials back to Vault once their connection is gone.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use crate::vault::{Lease, Vault, VaultError};

/// More than this waits only while Vault cannot be asked, for longer than most of them live.
const MOST_WAITING: usize = 256;

/// Leases whose connection is gone and that Vault was not told of yet.
pub(super) struct Revoker {
    vault: Vault,
    waiting: Mutex<VecDeque<String>>,
    /// Held by the one who is telling Vault, so that the end waits for it.
    sweeping: tokio::sync::Mutex<()>,
}

impl Revoker {
    pub(super) fn new(vault: Vault) -> Self {
        Self {
            vault,
            waiting: Mutex::default(),
            sweeping: tokio::sync::Mutex::default(),
        }
    }

    fn add(self: &Arc<Self>, lease_id: String) {
        let mut waiting = self.waiting();
        if waiting.len() == MOST_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(lease_id);
        drop(waiting);
        if let Ok(runtime) = Handle::try_current() {
            let revoker = Arc::clone(self);
            runtime.spawn(async move { revoker.sweep().await });
        }
    }

    /// Tells Vault of all that wait. What cannot be told now is tried with the next one; in the end
    /// each lease ends by itself.
    pub(super) async fn sweep(&self) {
        let _alone = self.sweeping.lock().await;
        loop {
            let Some(lease_id) = self.waiting().front().cloned() else {
                return;
            };
            match self.vault.revoke_lease(&lease_id).await {
                // Without its token it is gone already.
                Ok(()) | Err(VaultError::TokenInvalid) => {}
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%error, "Cannot revoke a database lease yet.");
                    return;
                }
                Err(error) => {
                    tracing::warn!(%error, "Cannot revoke a database lease; it ends by itself.");
                }
            }
            let mut waiting = self.waiting();
            if waiting.front() == Some(&lease_id) {
                waiting.pop_front();
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, VecDeque<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lease that is given back when it is dropped.
pub(super) struct Revocable {
    lease: Lease,
    revoker: Arc<Revoker>,
}

impl Revocable {
    pub(super) fn new(lease: Lease, revoker: Arc<Revoker>) -> Self {
        Self { lease, revoker }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for Revocable {
    fn drop(&mut self) {
        self.revoker.add(std::mem::take(&mut self.lease.lease_id));
    }
}

impl fmt::Debug for Revocable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.fmt(f)
    }
}
