//! Progress of shipping, for retention and for the status.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use vctl_common::status::{Millis, Shipping};

use crate::spool::Position;

/// Shared by the shipper's thread and the collector's. Each locks it only for a copy.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    shipped: Option<Position>,
    shipping: Shipping,
}

impl Progress {
    /// Returns the centre's position in the spool; `None` until it is known.
    pub fn shipped(&self) -> Option<Position> {
        self.lock().shipped
    }

    /// Returns the shipping part of `collector.json`, without the size of the backlog.
    pub fn status(&self) -> Shipping {
        self.lock().shipping.clone()
    }

    pub(super) fn set_shipped(&self, position: Position) {
        self.lock().shipped = Some(position);
    }

    pub(super) fn stored(&self, position: Position, events: usize, at: SystemTime) {
        let mut state = self.lock();
        state.shipped = Some(position);
        state.shipping.events_shipped += events as u64;
        state.shipping.last_shipped_at = Some(Millis::from_time(at));
        state.shipping.problem = None;
    }

    /// Changes the reported state of shipping.
    pub(super) fn tell(&self, change: impl FnOnce(&mut Shipping)) {
        change(&mut self.lock().shipping);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
