//! Why there is no connection, and what that ends.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::host_key::HostKeyError;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Tcp,
    Handshake,
    Authentication,
    Channel,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "the TCP connection",
            Self::Handshake => "the SSH handshake",
            Self::Authentication => "the login",
            Self::Channel => "the SSH channel",
        })
    }
}

/// A connection did not come about, or broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SshError {
    #[error("cannot connect to `{host}` at {addr}")]
    Dial {
        host: String,
        addr: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{step} to `{host}` did not come about within {} s", after.as_secs())]
    TooSlow {
        step: Step,
        host: String,
        after: Duration,
    },
    #[error("{step} to `{host}` failed")]
    Failed {
        step: Step,
        host: String,
        #[source]
        source: russh::Error,
    },
    #[error(transparent)]
    HostKey(Box<HostKeyError>),
    /// The server offers no way in that we have.
    #[error("`{host}` does not let `{user}` in with this certificate")]
    Refused {
        host: String,
        user: String,
        /// What could be wrong with the certificate itself, where that can be told from here.
        why: Option<String>,
        /// By how much the host's clock may be out.
        limits: String,
    },
    #[error("`{jump}` does not connect on to `{host}`")]
    JumpRefused {
        jump: String,
        host: String,
        #[source]
        source: Box<russh::Error>,
    },
    #[error("the connection to `{host}` broke off")]
    Lost {
        host: String,
        #[source]
        source: russh::Error,
    },
    /// Standard output or error takes no more, a full disk for example.
    #[error("cannot write the output")]
    Output {
        #[source]
        source: io::Error,
    },
    #[error("`{host}` refused {what}")]
    RequestRefused { host: String, what: &'static str },
    /// Neither way.
    #[error("`{host}` can be reached neither directly nor through its jump hosts")]
    BothWays {
        host: String,
        direct: Box<SshError>,
        jump: Box<SshError>,
    },
    /// What the connection needs from the centre did not come.
    #[error("{}", .0.message)]
    Centre(Box<CliError>),
}

impl SshError {
    /// There is one certificate for each hop, so this says that we are wrong.
    pub(crate) fn no_certificate() -> Self {
        let error = CliError::new(Exit::Failure, "there is no certificate for the host");
        error.into()
    }

    /// Says whether another way to the same host must not be tried: it would hide an attacker on this
    /// one, or get the same answer.
    pub(crate) fn ends_everything(&self) -> bool {
        matches!(
            self,
            Self::HostKey(_) | Self::Refused { .. } | Self::Centre(_)
        )
    }

    /// Says whether somebody said no, rather than nobody yes.
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
                "when the host does not trust the SSH CA yet, run `vctl trust-ca {host}`; {limits}"
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
            SshError::BothWays {
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
