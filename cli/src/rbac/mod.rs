//! `vctl rbac`: the commands that each group of users may run, and on which hosts.

pub(crate) mod scope;
