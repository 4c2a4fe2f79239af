//! `vctl audit verify`: compares the audit log of Vault with the access log and the recorded sessions.
//!
//! `source` opens the files, `lines` cuts them into lines, `entry` parses a line, `log` collects the signatures. `store`
//! reads accesses and sessions, `reconcile` compares all three by serial. Memory grows with the number of requests to sign
//! in the files, also of those that Vault refused, and not with the size of the log.

pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod model;
pub(crate) mod reconcile;
pub(crate) mod store;
pub(crate) mod text;
mod entry;
mod lines;
mod names;
mod problem;
mod progress;
pub(crate) mod report;
mod source;
