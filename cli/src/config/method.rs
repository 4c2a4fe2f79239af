//! The login methods of Vault that vctl supports.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use vctl_common::value_names;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Oidc,
    AppRole,
    Userpass,
    Token,
}

impl Method {
    /// Returns a parser of `--method`, which lists the methods in an error.
    pub(crate) fn parser() -> impl TypedValueParser<Value = Self> {
        let names = ["oidc", "userpass", "approle", "token"];
        PossibleValuesParser::new(names).try_map(|name| name.parse::<Self>())
    }
}

value_names!(Method {
    "oidc" => Oidc,
    "approle" => AppRole,
    "userpass" => Userpass,
    "token" => Token,
});
