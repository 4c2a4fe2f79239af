//! Errors of connections, and what they end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::host_key::HostKeyError;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// Step of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectStep {
    Tcp,
    Handshake,
    Authentication,
    Channel,
}

impl fmt::Display for ConnectStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "the TCP connection",
            Self::Handshake => "the SSH handshake",
            Self::Authentication => "the login",
            Self::Channel => "the SSH channel",
        })
    }
}

/// The reason why a connection failed or was lost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error(transparent)]
    Failed(#[from] russh::Error),
    /// Cause of the end, if known.
    #[error("{0}")]
    Ended(String),
}

/// A connection failed or was lost.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SshError {
    #[error("cannot connect to `{host}` at {addr}")]
    Dial {
        host: String,
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{step} to `{host}` did not complete within {} s", after.as_secs())]
    TooSlow {
        step: ConnectStep,
        host: String,
        after: Duration,
    },
    #[error("{step} to `{host}` failed")]
    Failed {
        step: ConnectStep,
        host: String,
        #[source]
        source: ConnectionError,
    },
    #[error(transparent)]
    HostKey(Box<HostKeyError>),
    /// The server rejected the certificate.
    #[error("`{host}` does not accept the certificate for `{user}`")]
    Refused {
        host: String,
        user: String,
        /// A fault of the certificate itself, if one was found.
        why: Option<String>,
        /// Possible errors of the host's clock.
        limits: String,
    },
    #[error("`{jump}` does not connect to `{host}`")]
    JumpRefused {
        jump: String,
        host: String,
        #[source]
        source: Box<ConnectionError>,
    },
    #[error("the connection to `{host}` was lost")]
    Lost {
        host: String,
        #[source]
        source: ConnectionError,
    },
    /// Standard output or standard error cannot be written, for example because the disk is full.
    #[error("cannot write the output")]
    Output {
        #[source]
        source: io::Error,
    },
    #[error("`{host}` refused {what}")]
    RequestRefused { host: String, what: &'static str },
    /// Both routes failed.
    #[error("`{host}` can be reached neither directly nor through its jump hosts")]
    BothRoutes {
        host: String,
        direct: Box<SshError>,
        jump: Box<SshError>,
    },
    /// Vault or Postgres failed.
    #[error("{}", .0.message)]
    Centre(Box<CliError>),
}

impl SshError {
    /// Internal error: every hop has a certificate.
    pub(crate) fn no_certificate() -> Self {
        let error = CliError::new(Exit::Failure, "there is no certificate for the host");
        error.into()
    }

    /// Returns whether no other route to the host may be tried. Another route could hide an attacker on this one, or
    /// would get the same answer.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::HostKey(_) | Self::Refused { .. } | Self::Centre(_)
        )
    }

    /// Returns whether the host may show a known key if it is asked for no host certificate.
    pub(super) fn hides_known_key(&self) -> bool {
        matches!(self, Self::HostKey(error) if matches!(**error, HostKeyError::Changed { hides_known_type: true, .. }))
    }

    /// Returns true when the server or Vault refused, false when it could not be reached.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::HostKey(_) | Self::Refused { .. } => true,
            Self::Centre(error) => error.exit == Exit::Permission,
            _ => false,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::HostKey(_) => Exit::HostKey,
            Self::Refused { .. } => Exit::Permission,
            Self::Centre(error) => error.exit,
            Self::Output { .. } => Exit::Failure,
            _ => Exit::Transport,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::HostKey(error) => error.hint(),
            Self::Refused { host, limits, .. } => Some(format!(
                "if the host does not trust the SSH CA yet, run `vctl trust-ca {host}`; {limits}"
            )),
            _ => None,
        }
    }
}

impl From<CliError> for SshError {
    fn from(error: CliError) -> Self {
        Self::Centre(Box::new(error))
    }
}

impl From<HostKeyError> for SshError {
    fn from(error: HostKeyError) -> Self {
        Self::HostKey(Box::new(error))
    }
}

impl From<SshError> for Stop {
    fn from(error: SshError) -> Self {
        let (exit, hint) = (error.exit(), error.hint());
        let new = match error {
            SshError::Centre(error) => return (*error).into(),
            SshError::BothRoutes {
                ref direct,
                ref jump,
                ..
            } => CliError::new(exit, error.to_string())
                .caused_by(direct.as_ref())
                .caused_by(jump.as_ref()),
            SshError::Refused {
                why: Some(ref why), ..
            } => {
                let mut new = CliError::new(exit, error.to_string());
                new.causes.push(why.clone());
                new
            }
            _ => {
                let new = CliError::new(exit, error.to_string());
                match std::error::Error::source(&error) {
                    Some(source) => new.caused_by(source),
                    None => new,
                }
            }
        };
        match hint {
            Some(hint) => new.hint(hint).into(),
            None => new.into(),
        }
    }
}
