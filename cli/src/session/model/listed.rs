//! A session as lists show it.

use super::Session;

/// A session of a list.
#[derive(Debug)]
pub(crate) struct ListedSession {
    pub(crate) session: Session,
    /// Number of programs that the user started.
    pub(crate) commands: u64,
}
