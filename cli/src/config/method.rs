//! How a person or a program proves to Vault who it is.

use vctl_common::value_names;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Oidc,
    AppRole,
    Userpass,
    Token,
}

value_names!(Method {
    "oidc" => Oidc,
    "approle" => AppRole,
    "userpass" => Userpass,
    "token" => Token,
});
