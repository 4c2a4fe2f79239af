//! `vctl status`: the login, the host and the host's agents.

pub(crate) mod model;
pub(crate) mod text;
