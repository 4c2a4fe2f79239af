//! `vctl rbac`: the commands that each group of users may run, and on which hosts.

pub(crate) mod scope;
pub(crate) mod scope_file;
pub(crate) mod scope_roles;
pub(crate) mod signing;
