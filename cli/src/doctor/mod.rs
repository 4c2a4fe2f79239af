//! `vctl doctor`: checks of everything between this machine and the centre, in the order in which commands need it.
//! Each check is an I/O part, and a pure part that judges the result.
//!
//! A check that depends on a failed one is skipped, so one fault is one failure. Checks that do not depend on each other
//! run side by side; the report has the order of [`Check`].

mod capabilities;
mod certificate;
mod clock;
mod config;
mod runner;
mod database;
mod dns;
pub(crate) mod checklist;
mod schema;
mod server_kind;
pub(crate) mod seal;
pub(crate) mod ssh;
mod ssh_config;
mod tcp;
mod tls;
pub(crate) mod token;
pub(crate) mod text;

use std::time::Duration;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

pub(crate) use checklist::run_all;
pub(crate) use runner::{Observer, Runner};

/// One check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
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
    SshConfig,
}

impl Check {
    /// All checks in the order of the report.
    pub(crate) const ALL: [Self; 16] = [
        Self::Config,
        Self::VaultDns,
        Self::VaultTcp,
        Self::VaultTls,
        Self::Seal,
        Self::Clock,
        Self::Token,
        Self::Capabilities,
        Self::Ssh,
        Self::DbDns,
        Self::DbTcp,
        Self::DbTls,
        Self::DbLogin,
        Self::DbClock,
        Self::Schema,
        Self::SshConfig,
    ];

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
            Self::SshConfig => "ssh config",
        }
    }
}

/// Result of a check. If it works, it has a value that later checks need.
#[derive(Debug)]
pub(crate) enum CheckResult<T> {
    Pass {
        found: String,
        fact: T,
    },
    /// It works, with a warning.
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

impl<T> CheckResult<T> {
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

    /// Converts an error, with the text and hint that a command would print.
    pub(crate) fn failed(stop: impl Into<Stop>) -> Self {
        let error = match stop.into() {
            Stop::Error(error) => error,
            // No check writes or runs anything; Ctrl-C ends the command from outside.
            Stop::ReaderGone | Stop::Interrupted | Stop::Child(_) => {
                CliError::new(Exit::Failure, "the check was interrupted")
            }
        };
        Self::Fail {
            exit: error.exit,
            found: error.one_line(),
            fix: error.hint,
        }
    }
}

/// Result of a check, as reports show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckOutcome {
    Pass,
    Warn,
    Fail(Exit),
    /// Skipped, because the named check failed.
    Skipped(Check),
}

impl CheckOutcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail(_) => "fail",
            Self::Skipped(_) => "skipped",
        }
    }
}

/// A check that was made or skipped.
#[derive(Clone, Debug)]
pub(crate) struct CheckReport {
    pub(crate) check: Check,
    pub(crate) outcome: CheckOutcome,
    pub(crate) took: Duration,
    pub(crate) found: String,
    pub(crate) fix: Option<String>,
}
