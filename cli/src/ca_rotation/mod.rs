//! `vctl ca ssh-rotate`: replaces the SSH CA by a new one, while logins continue to work.
//!
//! ```text
//! one CA ──next──▶ a second one, trusted by every host ──next──▶ the second one signs ──finish──▶ one CA
//! ```
//!
//! [`stage`] determines the stage of a rotation, [`vault`] creates and removes CAs, [`hosts`] runs the changes on the
//! hosts. Neither Vault nor OpenBao can sign with two CAs at one mount, so two mounts take turns. `vctl.ca_keys` has
//! which of them signs, and one transaction changes that for all users.

pub(crate) mod hosts;
pub(crate) mod stage;
pub(crate) mod vault;
pub(crate) mod store;
pub(crate) mod text;

pub(crate) use hosts::{FailedHost, RotationHost};
pub(crate) use stage::{CaKey, KeyState, Stage};
