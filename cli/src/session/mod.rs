//! `vctl session`: sessions, read from the central store or from this host's spool.

pub(crate) mod centre;
pub(crate) mod end;
pub(crate) mod json;
pub(crate) mod linux;
pub(crate) mod local;
pub(crate) mod model;
pub(crate) mod page;
pub(crate) mod source;
pub(crate) mod text;
