//! `vctl rbac`: groups of users, the commands that each group may run, and the gate before these commands.
//!
//! [`command`] lists the gated commands; [`caller`] has the grants of the user of this command, from Postgres or from
//! [`cache`]; [`gate`] decides. [`scope`] narrows a grant; [`signing`], [`scope_file`] and [`scope_roles`] are
//! about the roles of Vault that enforce scopes. The others are for the commands that show and change groups. The gate
//! prevents mistakes with vctl. Only the policies of Vault stop other clients.

pub(crate) mod caller;
pub(crate) mod check;
pub(crate) mod command;
pub(crate) mod gate;
pub(crate) mod json;
pub(crate) mod lookup;
pub(crate) mod model;
pub(crate) mod name;
pub(crate) mod scope;
pub(crate) mod scope_file;
pub(crate) mod scope_roles;
pub(crate) mod signing;
pub(crate) mod store;
pub(crate) mod store_edit;
pub(crate) mod table;
pub(crate) mod cache;
