//! What may be wrong between this machine and the centre, looked at in the order in which it is passed
//! through. Each probe is a look (its I/O) and a judgement of what was found, which is pure.
//!
//! What could not work anyway, since something before it does not, is skipped: one fault is one failure.

mod capabilities;
mod certificate;
mod clock;
mod config;
mod runner;
mod database;
mod dns;
pub(crate) mod checklist;
mod schema;
pub(crate) mod seal;
pub(crate) mod ssh;
mod tcp;
mod tls;
pub(crate) mod token;
pub(crate) mod text;

use std::time::Duration;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

pub(crate) use checklist::examine;
pub(crate) use runner::{Course, Watch};

/// One thing that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    Config,
    VaultDns,
    VaultTcp,
    VaultTls,
    Seal,
    Clock,
    Token,
    Capabilities,
    Ssh,
    DbDns,
    DbTcp,
    DbTls,
    DbLogin,
    DbClock,
    Schema,
}

impl Probe {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::VaultDns => "vault dns",
            Self::VaultTcp => "vault tcp",
            Self::VaultTls => "vault tls",
            Self::Seal => "vault seal",
            Self::Clock => "clock",
            Self::Token => "token",
            Self::Capabilities => "capabilities",
            Self::Ssh => "ssh ca",
            Self::DbDns => "db dns",
            Self::DbTcp => "db tcp",
            Self::DbTls => "db tls",
            Self::DbLogin => "db login",
            Self::DbClock => "db clock",
            Self::Schema => "schema",
        }
    }
}

/// What a look came to. What works has something that those after it need.
#[derive(Debug)]
pub(crate) enum Finding<T> {
    Pass {
        found: String,
        fact: T,
    },
    /// It works, and somebody should know.
    Warn {
        found: String,
        fix: String,
        fact: T,
    },
    Fail {
        exit: Exit,
        found: String,
        fix: Option<String>,
    },
}

impl<T> Finding<T> {
    pub(crate) fn pass(found: impl Into<String>, fact: T) -> Self {
        Self::Pass {
            found: found.into(),
            fact,
        }
    }

    pub(crate) fn warn(found: impl Into<String>, fix: impl Into<String>, fact: T) -> Self {
        Self::Warn {
            found: found.into(),
            fix: crate::config::placed(&fix.into()),
            fact,
        }
    }

    pub(crate) fn fail(exit: Exit, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Fail {
            exit,
            found: found.into(),
            fix: Some(crate::config::placed(&fix.into())),
        }
    }

    /// An error as the commands themselves tell it.
    pub(crate) fn failed(stop: impl Into<Stop>) -> Self {
        let error = match stop.into() {
            Stop::Error(error) => error,
            // Nothing here writes or runs anything; Ctrl-C ends the command from outside.
            Stop::ReaderGone | Stop::Interrupted | Stop::Child(_) => {
                CliError::new(Exit::Failure, "it was given up")
            }
        };
        let mut found = error.message;
        for cause in error.causes {
            found.push_str(": ");
            found.push_str(&cause);
        }
        Self::Fail {
            exit: error.exit,
            found,
            fix: error.hint,
        }
    }
}

/// How a probe ended, for whoever reads of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pass,
    Warn,
    Fail(Exit),
    /// That one failed, without which this one cannot work.
    Skipped(Probe),
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail(_) => "fail",
            Self::Skipped(_) => "skipped",
        }
    }
}

/// One probe, made or skipped.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) probe: Probe,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    pub(crate) found: String,
    pub(crate) fix: Option<String>,
}
