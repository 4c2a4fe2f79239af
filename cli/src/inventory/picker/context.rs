//! Facts about the hosts besides their rows, for the picker.

use std::time::SystemTime;

/// Additional data about the hosts of a picker.
#[derive(Clone, Debug, Default)]
pub(crate) struct PickerContext {
    /// The database's clock, for the liveness; `None` for cached hosts.
    pub(crate) now: Option<SystemTime>,
    /// Hosts that were used on this machine, the latest first.
    pub(crate) recent: Vec<String>,
}
