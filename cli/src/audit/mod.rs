//! `vctl audit`: the access log.

pub(crate) mod json;
pub(crate) mod model;
pub(crate) mod store;
pub(crate) mod table;
pub(crate) mod verify;
