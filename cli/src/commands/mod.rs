//! One command, one file: its arguments on top, one `run` below.

pub(crate) mod audit;
pub(crate) mod host;
pub(crate) mod migrate;
pub(crate) mod session;
