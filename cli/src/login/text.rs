//! Output of `vctl login` and `vctl token`: properties of the token, never the token itself.

use std::io::{self, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use crate::login::CachedToken;
use crate::ui::format::OutputFormat;
use crate::ui::{json, sanitize};

/// Version of the format. It changes when a field changes or is removed, not when one is added.
const VERSION: u32 = 1;

/// A property of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenField {
    /// Remaining seconds; empty for a token that never expires
    Ttl,
    /// Time of expiry in UTC; empty for a token that never expires
    Expires,
    /// Accessor of the token, as in Vault's audit log
    Accessor,
}

#[derive(Serialize)]
struct TokenJson<'a> {
    version: u32,
    vault_addr: &'a str,
    display_name: &'a str,
    method: &'a str,
    accessor: &'a str,
    expires: Option<Timestamp>,
    ttl_s: Option<u64>,
    renewable: bool,
}

pub(crate) fn write_for_programs(
    out: &mut dyn Write,
    format: OutputFormat,
    token: &CachedToken,
) -> io::Result<()> {
    let token = TokenJson {
        version: VERSION,
        vault_addr: token.addr(),
        display_name: &token.display_name,
        method: &token.method,
        accessor: &token.accessor,
        expires: token.life.expires,
        ttl_s: left(token),
        renewable: token.life.renewable,
    };
    json::write_in(out, format, &token)
}

pub(crate) fn field(token: &CachedToken, field: TokenField) -> String {
    match field {
        TokenField::Ttl => left(token).map(|seconds| seconds.to_string()),
        TokenField::Expires => token.life.expires.map(|expires| format!("{expires:.0}")),
        TokenField::Accessor => Some(sanitize::visible(&token.accessor).into_owned()),
    }
    .unwrap_or_default()
}

fn left(token: &CachedToken) -> Option<u64> {
    token.life.left(Timestamp::now()).map(|left| left.as_secs())
}
