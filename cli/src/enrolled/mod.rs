//! `vctl host list`: the hosts with an identity in Vault.

pub(crate) mod json;
pub(crate) mod model;
pub(crate) mod store;
pub(crate) mod table;
