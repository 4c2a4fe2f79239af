//! The exit statuses of `vctl`.

use std::process::ExitCode;

/// Exit statuses. Numbers from 64 to 78 are those of sysexits(3); `--help` lists all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    /// The requested thing does not exist.
    NotFound = 66,
    /// Vault or Postgres cannot be reached, or is not trusted.
    Unavailable = 69,
    /// A temporary failure: the same command may work in a moment.
    TryAgain = 75,
    /// A host key changed, was revoked, or is not known.
    HostKey = 76,
    /// The user lacks the right.
    Permission = 77,
    /// A setting is missing or wrong, or two versions do not fit.
    Config = 78,
    /// The command of `vctl exec` cannot be executed, as in shells.
    CannotExecute = 126,
    /// The command of `vctl exec` does not exist, as in shells.
    CommandNotFound = 127,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// The SSH connection failed or was lost, as in OpenSSH.
    Transport = 255,
}

/// The exit statuses as `--help` and the manual pages list them.
pub(crate) const MEANINGS: [(&str, &str); 13] = [
    ("0", "success, also when the reader of a pipe exits"),
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
    ("126", "the command of `vctl exec` cannot be executed"),
    ("127", "the command of `vctl exec` does not exist"),
    ("130", "interrupted by Ctrl-C"),
    ("255", "the SSH connection failed or was lost"),
];

impl Exit {
    /// Returns whether the same command may work later without any change here.
    pub(crate) fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::TryAgain)
    }

    /// Returns whether further requests of a batch would fail for the same reason.
    pub(crate) fn aborts_batch(self) -> bool {
        self.is_transient() || matches!(self, Self::Permission)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_lists_every_status() {
        let listed = MEANINGS.map(|(status, _)| status.parse::<u8>().unwrap());
        let all = [
            Exit::Success,
            Exit::Failure,
            Exit::Usage,
            Exit::NotFound,
            Exit::Unavailable,
            Exit::TryAgain,
            Exit::HostKey,
            Exit::Permission,
            Exit::Config,
            Exit::CannotExecute,
            Exit::CommandNotFound,
            Exit::Interrupted,
            Exit::Transport,
        ];
        assert_eq!(listed, all.map(|exit| exit as u8));
    }
}
