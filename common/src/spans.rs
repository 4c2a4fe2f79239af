//! What a command waits for, as spans: whoever measures where its time goes looks at these. Without a
//! subscriber they cost nothing.

use tracing::{Span, info_span};

/// All of them have it, and nothing else has.
pub const TARGET: &str = "vctl::phase";

/// A token is got, renewed or looked up.
pub fn auth() -> Span {
    info_span!(target: TARGET, "auth")
}

/// A database login is made or given back.
pub fn credential() -> Span {
    info_span!(target: TARGET, "credential")
}

/// Postgres is reached, believed and logged in to.
pub fn connect() -> Span {
    info_span!(target: TARGET, "connect")
}

/// Vault is asked for something else, or a connection to Postgres is in use.
pub fn query() -> Span {
    info_span!(target: TARGET, "query")
}

/// A page is written.
pub fn render() -> Span {
    info_span!(target: TARGET, "render")
}
