//! `vctl revoke`: ends the access of a user in Vault, on hosts, and for sshd.

mod krl;
pub(crate) mod steps;
pub(crate) mod store;
mod tokens;
mod user;
mod words;
