//! Limits of a pool.

use std::time::Duration;

/// Number of connections, and their time limits.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    pub max_size: usize,
    /// A connection older than this is replaced, even if its credential is valid for longer.
    pub max_age: Option<Duration>,
    /// A connection that was not used for so long is closed: all connections of a user share a limit. `None` keeps it.
    pub idle: Option<Duration>,
    /// Longest wait in [`Pool::get`] while all connections of this pool, or of a shared login, are in use.
    pub wait: Duration,
    /// Postgres ends a statement that runs longer.
    pub statement_timeout: Option<Duration>,
    /// Plans each statement with its values. A generic plan would read every partition; with the values known, Postgres
    /// reads only those needed.
    pub custom_plans: bool,
    /// Connects even if the schema is missing or does not fit this program, for commands that
    /// correct it.
    pub any_schema: bool,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_size: 1,
            max_age: None,
            idle: None,
            wait: Duration::from_secs(30),
            statement_timeout: None,
            custom_plans: false,
            any_schema: false,
        }
    }
}
