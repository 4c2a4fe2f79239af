//! The commands: one file for each, with its arguments first and its `run` below them. The groups are those of the
//! help; shared parts of commands come last.

pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod whoami;
pub(crate) mod status;
pub(crate) mod ssh;
pub(crate) mod exec;
pub(crate) mod token;
pub(crate) mod agent;
pub(crate) mod mcp;

pub(crate) mod ssh_config;
pub(crate) mod known_hosts;
pub(crate) mod proxy;
pub(crate) mod ssh_agent;

pub(crate) mod list;
pub(crate) mod add;
pub(crate) mod edit;
pub(crate) mod delete;
pub(crate) mod dbedit;
pub(crate) mod sync;
pub(crate) mod cache;

pub(crate) mod session;
pub(crate) mod audit;
mod audit_export;
mod audit_verify;
pub(crate) mod fleet;
pub(crate) mod retention;
pub(crate) mod prune;

pub(crate) mod trust_ca;
pub(crate) mod host;
pub(crate) mod ca;
pub(crate) mod node_agent;
pub(crate) mod rbac;
pub(crate) mod revoke;

pub(crate) mod doctor;
pub(crate) mod config;
pub(crate) mod migrate;
pub(crate) mod completions;
pub(crate) mod man;
pub(crate) mod help;
pub(crate) mod version;

mod duration_arg;
mod export_args;
mod inventory_change;
mod operator_ssh;
mod reason_arg;
mod scope_args;
