//! Revokes credentials in Vault after their connection is closed.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use crate::causes::WithCauses;
use crate::vault::{Lease, Vault, VaultError};

/// The queue is longer only while Vault is unavailable; by then, most of the leases have ended.
const MOST_WAITING: usize = 256;

/// Leases of closed connections that are not yet revoked.
pub(super) struct Revoker {
    vault: Vault,
    waiting: Mutex<VecDeque<String>>,
    /// Held during revocation, so that closing the pool waits for it.
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

    /// Revokes all waiting leases. A failed one is tried again with the next; in the end each lease
    /// expires.
    pub(super) async fn sweep(&self) {
        let _alone = self.sweeping.lock().await;
        loop {
            let Some(lease_id) = self.waiting().front().cloned() else {
                return;
            };
            match self.vault.revoke_lease(&lease_id).await {
                // Without its token, the lease has already ended.
                Ok(()) | Err(VaultError::TokenInvalid) => {}
                Err(error) if error.is_retryable() => {
                    tracing::debug!(error = %WithCauses(&error), "Cannot revoke a database lease yet.");
                    return;
                }
                Err(error) => {
                    tracing::warn!(error = %WithCauses(&error), "Cannot revoke a database lease; it ends by itself.");
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

/// A lease that is revoked when it is dropped, unless other processes use it too.
pub(super) struct Revocable {
    lease: Lease,
    revoker: Option<Arc<Revoker>>,
}

impl Revocable {
    pub(super) fn new(lease: Lease, revoker: Arc<Revoker>) -> Self {
        Self {
            lease,
            revoker: Some(revoker),
        }
    }

    pub(super) fn never(lease: Lease) -> Self {
        Self {
            lease,
            revoker: None,
        }
    }

    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }
}

impl Drop for Revocable {
    fn drop(&mut self) {
        if let Some(revoker) = &self.revoker {
            revoker.add(std::mem::take(&mut self.lease.lease_id));
        }
    }
}

impl fmt::Debug for Revocable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lease.fmt(f)
    }
}
