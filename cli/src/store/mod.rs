//! From the central store. Each query is a `.sql` file beside the one function that runs it.

pub(crate) mod fleet;
pub(crate) mod retention;
