//! Requests to end live sessions: rows that the host's agent reads and answers.

pub(crate) mod store;
pub(crate) mod messages;
