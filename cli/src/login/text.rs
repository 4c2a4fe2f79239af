//! A login as it is told: whose, of which Vault, until when; never the token.

use std::io::{self, Write};

use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use crate::login::CachedToken;
use crate::ui::form::Form;
use crate::ui::{json, sanitize};

/// Changes when a field changes its meaning or goes away; new fields may come at any time.
const VERSION: u32 = 1;

/// One thing that is known of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Field {
    /// Seconds that are left; empty for a token that never expires
    Ttl,
    /// When it ends, in UTC; empty for a token that never expires
    Expires,
    /// What names it in Vault's audit log
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
    form: Form,
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
    json::write_in(out, form, &token)
}

pub(crate) fn field(token: &CachedToken, field: Field) -> String {
    match field {
        Field::Ttl => left(token).map(|seconds| seconds.to_string()),
        Field::Expires => token.life.expires.map(|expires| format!("{expires:.0}")),
        Field::Accessor => Some(sanitize::visible(&token.accessor).into_owned()),
    }
    .unwrap_or_default()
}

fn left(token: &CachedToken) -> Option<u64> {
    token.life.left(Timestamp::now()).map(|left| left.as_secs())
}
