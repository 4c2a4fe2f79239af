//! `vctl revoke`: ends the access of a user in Vault, on hosts, and for sshd.

mod krl;
mod live_sessions;
mod outcome;
pub(crate) mod sshd_list;
pub(crate) mod steps;
pub(crate) mod store;
mod tokens;
mod user;
mod words;

use std::time::Duration;

/// Interval between two looks at a state.
const LOOK: Duration = Duration::from_millis(500);
