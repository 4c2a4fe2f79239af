//! `vctl retention`: retention periods, by kind of record.

pub(crate) mod json;
pub(crate) mod model;
pub(crate) mod store;
pub(crate) mod table;
