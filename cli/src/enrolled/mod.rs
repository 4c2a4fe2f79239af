//! Hosts with an identity in Vault: their list, names and logins in the database.

pub(crate) mod json;
pub(crate) mod model;
pub(crate) mod store;
pub(crate) mod store_edit;
pub(crate) mod table;
