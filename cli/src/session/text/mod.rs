//! Sessions as text for a terminal.

pub(crate) mod detail;
pub(crate) mod fact;
pub(crate) mod grep_results;
pub(crate) mod header;
pub(crate) mod identity;
pub(crate) mod line;
pub(crate) mod live;
pub(crate) mod provenance;
pub(crate) mod running;
pub(crate) mod table;
pub(crate) mod timeline;
pub(crate) mod tree;
