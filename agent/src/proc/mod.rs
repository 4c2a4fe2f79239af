//! What /proc says about the host and its processes: parsers of its files, and a reader below a given root.

pub mod files;
pub mod host;
pub mod mountinfo;
pub mod process_table;
pub mod reader;
pub mod stat;

#[cfg(test)]
pub(crate) mod fake_proc;
