//! Errors of Vault, grouped by the user's next step.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::tls::{TlsProblem, TlsSetupError};

/// A request to Vault failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("`{addr}` is not an address of a Vault server: {why}")]
    Address { addr: String, why: &'static str },
    #[error("cannot set up TLS to Vault at `{addr}`")]
    Setup {
        addr: String,
        #[source]
        source: TlsSetupError,
    },
    #[error("the Vault token contains invalid characters")]
    TokenText,
    #[error("cannot read the secret id in `{}`", path.display())]
    SecretId {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot reach Vault at `{addr}`")]
    Unreachable {
        addr: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("Vault at `{addr}` did not answer within {}", seconds(*after))]
    Timeout { addr: String, after: Duration },
    #[error("Vault at `{addr}` is not trusted: {problem}")]
    Tls {
        addr: String,
        problem: TlsProblem,
        #[source]
        source: reqwest::Error,
    },
    #[error("Vault at `{addr}` is sealed")]
    Sealed { addr: String },
    #[error("Vault limits the rate of requests (`{path}`)")]
    RateLimited {
        path: String,
        retry_after: Option<Duration>,
    },
    /// The token is valid, but its policies do not allow the request.
    #[error("Vault denies this token the {what}")]
    Denied {
        what: String,
        /// A policy that allows it.
        policy: Option<String>,
        /// Environment variables of settings that may be wrong, because they differ from the
        /// policy's defaults.
        settings: Vec<&'static str>,
    },
    #[error("the Vault token has expired or was revoked")]
    TokenInvalid,
    #[error("Vault refuses the login at `auth/{mount}`: {message}")]
    LoginRefused { mount: String, message: String },
    #[error("the wrapping token was already used, or has expired")]
    WrapInvalid,
    #[error("Vault has no {what}")]
    NotFound { what: String },
    /// The database engine has no role of this name, or is mounted elsewhere.
    #[error("Vault has no role `{role}` at `{mount}/`")]
    NoRole {
        mount: String,
        role: String,
        /// Environment variables of the settings for role and mount.
        settings: Vec<&'static str>,
    },
    #[error("Vault answers `{path}` with status {status}: {message}")]
    Http {
        path: String,
        status: u16,
        message: String,
        retry_after: Option<Duration>,
    },
    #[error("Vault's answer to `{path}` is not understood")]
    Answer {
        path: String,
        #[source]
        source: serde_json::Error,
    },
}

impl VaultError {
    /// Returns whether the same request may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::Sealed { .. }
            | Self::RateLimited { .. } => true,
            Self::Http { status, .. } => *status >= 500,
            _ => false,
        }
    }

    /// Returns the pause that the server asked for.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Http { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns whether the caller's own credential is missing or refused. `hint` then speaks of a host; other programs
    /// with an AppRole have another next step.
    pub fn is_about_credential(&self) -> bool {
        match self {
            Self::SecretId { .. } | Self::LoginRefused { .. } | Self::WrapInvalid => true,
            Self::NoRole { settings, .. } => settings.is_empty(),
            _ => false,
        }
    }

    /// Returns the next step for the user.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Address { .. } => "set `VCTL_VAULT_ADDR` to `https://HOST:PORT`".to_owned(),
            Self::Setup { .. } => {
                "`VCTL_VAULT_CA_CERT` names a PEM file with the authority of Vault's certificate"
                    .to_owned()
            }
            Self::TokenText | Self::TokenInvalid => {
                "run `vctl login`; a token in `VAULT_TOKEN` takes precedence, so unset that variable"
                    .to_owned()
            }
            Self::Unreachable { .. } | Self::Timeout { .. } => {
                "check `VCTL_VAULT_ADDR` and the network, and that Vault runs".to_owned()
            }
            Self::Tls { problem, .. } => tls_hint(*problem).to_owned(),
            Self::Sealed { .. } => "ask the operators of Vault to unseal it".to_owned(),
            Self::RateLimited { retry_after, .. } => match retry_after {
                Some(after) => format!("try again in {}", seconds(*after)),
                None => "try again later".to_owned(),
            },
            Self::Denied {
                policy, settings, ..
            } => {
                let ask = format!(
                    "ask for the policy `{}`, then log in again",
                    policy.as_deref()?
                );
                match &settings[..] {
                    [] => ask,
                    settings => format!("check {}; else {ask}", listed(settings)),
                }
            }
            Self::NoRole { settings, .. } if settings.is_empty() => {
                "enrol the host again: `vctl host enroll HOST`".to_owned()
            }
            Self::NoRole {
                mount, settings, ..
            } => format!(
                "check {}; `vault list {mount}/roles` shows the existing roles",
                listed(settings)
            ),
            Self::LoginRefused { .. } | Self::SecretId { .. } | Self::WrapInvalid => {
                "enrol the host again for a new secret id: `vctl host enroll HOST`".to_owned()
            }
            Self::NotFound { .. } => {
                "a Vault administrator has to create it; for a host run `vctl host enroll HOST`"
                    .to_owned()
            }
            Self::Http { .. } | Self::Answer { .. } => return None,
        })
    }
}

/// Returns the next step for a Vault that is not trusted.
pub fn tls_hint(problem: TlsProblem) -> &'static str {
    match problem {
        TlsProblem::Authority => {
            "set `VCTL_VAULT_CA_CERT` to the PEM file of the authority that signed it"
        }
        TlsProblem::Name => "use the name of its certificate in `VCTL_VAULT_ADDR`",
        TlsProblem::Expired | TlsProblem::NotYetValid => {
            "check the clock of this machine; if it is right, Vault needs a new certificate"
        }
        TlsProblem::NoTls | TlsProblem::Other => "check `VCTL_VAULT_ADDR`",
    }
}

fn listed(settings: &[&str]) -> String {
    let settings: Vec<_> = settings.iter().map(|name| format!("`{name}`")).collect();
    settings.join(" and ")
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64().ceil())
}
