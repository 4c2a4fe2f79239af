//! One command, one file: its arguments on top, one `run` below.

pub(crate) mod audit;
pub(crate) mod ca;
pub(crate) mod config;
pub(crate) mod fleet;
pub(crate) mod host;
pub(crate) mod migrate;
pub(crate) mod node_agent;
pub(crate) mod prune;
pub(crate) mod retention;
pub(crate) mod session;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod ssh;
pub(crate) mod token;
pub(crate) mod agent;
pub(crate) mod exec;
pub(crate) mod doctor;
pub(crate) mod status;
