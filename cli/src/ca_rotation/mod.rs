//! `vctl ca ssh-rotate`: one SSH CA takes over from another, while everybody goes on logging in.
//!
//! ```text
//! one CA ──next──▶ a second one, which every host is told of ──next──▶ it signs ──finish──▶ one CA
//! ```
//!
//! [`stage`] says where a rotation stands, [`vault`] makes and removes CAs, [`hosts`] goes to the hosts. Neither
//! Vault nor OpenBao can sign with two CAs at one mount that both know of, so there are two mounts that take
//! turns; which of them signs stands in `vctl.ca_keys`, where one transaction moves everybody.

pub(crate) mod hosts;
pub(crate) mod stage;
pub(crate) mod vault;
pub(crate) mod store;
pub(crate) mod text;

pub(crate) use hosts::{Host, Missing};
pub(crate) use stage::{Key, KeyState, Stage};
