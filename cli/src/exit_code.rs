//! What the shell is told.

use std::process::ExitCode;

/// Why `vctl` ended. The numbers above 2 are those of sysexits(3), listed in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 66,
    /// Vault or Postgres cannot be asked, or is not believed.
    Unavailable = 69,
    /// The same may work in a moment.
    TryAgain = 75,
    /// A server is not the one it was: its host key changed, was revoked, or nobody vouches for it.
    HostKey = 76,
    /// It exists, and this user may not read it.
    Permission = 77,
    /// A setting is missing or wrong, or two versions do not fit.
    Config = 78,
    /// A command that was to be run is there and cannot be executed, as shells say it.
    CannotExecute = 126,
    /// A command that was to be run is not there, as shells say it.
    CommandNotFound = 127,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// SSH did not come about, or broke off: what OpenSSH ends with.
    Transport = 255,
}

/// The exit statuses as `--help` and the manual pages list them.
pub(crate) const MEANINGS: [(&str, &str); 11] = [
    ("0", "success, also when the reader of a pipe goes away"),
    ("1", "failure"),
    ("2", "wrong usage"),
    ("66", "a host, session or file does not exist"),
    (
        "69",
        "Vault or Postgres cannot be reached, or is not trusted",
    ),
    ("75", "temporary failure: try again"),
    ("76", "a host key is not the expected one"),
    ("77", "permission denied"),
    (
        "78",
        "a setting is missing or wrong, or versions do not fit",
    ),
    ("130", "interrupted by Ctrl-C"),
    ("255", "the SSH connection failed or was lost"),
];

impl Exit {
    /// Says whether the same may work later with nobody changing anything here.
    pub(crate) fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::TryAgain)
    }
}

impl Exit {
    /// Says whether nothing else that is asked of the centre can fare better.
    pub(crate) fn aborts_batch(self) -> bool {
        self.is_transient() || matches!(self, Self::Permission)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
