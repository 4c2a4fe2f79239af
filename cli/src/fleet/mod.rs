//! `vctl fleet`: the state of each host's agent.

pub(crate) mod json;
pub(crate) mod model;
pub(crate) mod store;
pub(crate) mod table;
