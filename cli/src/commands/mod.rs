//! One command, one file: its arguments on top, one `run` below.

pub(crate) mod migrate;
pub(crate) mod session;
