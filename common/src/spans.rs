//! Spans for the steps that a command waits for, so that its time can be measured. Without a
//! subscriber they cost nothing.

use tracing::{Span, info_span};

/// Target of all these spans, and of no others.
pub const TARGET: &str = "vctl::phase";

/// Getting, renewing or looking up a token.
pub fn auth() -> Span {
    info_span!(target: TARGET, "auth")
}

/// Creating or revoking a database login.
pub fn credential() -> Span {
    info_span!(target: TARGET, "credential")
}

/// Connecting to Postgres: TCP, TLS and login.
pub fn connect() -> Span {
    info_span!(target: TARGET, "connect")
}

/// Any other request to Vault, or a Postgres connection in use.
pub fn query() -> Span {
    info_span!(target: TARGET, "query")
}

/// Writing a page.
pub fn render() -> Span {
    info_span!(target: TARGET, "render")
}
