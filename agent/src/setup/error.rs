//! Reasons why a host is not set up, each with the next command.

use std::io;
use std::path::PathBuf;

use crate::config::{CentreError, ConfigError};
use crate::pam::{EditError, LeavesRoot, StampLine};

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("nothing was changed")]
    Declined,
    #[error("cannot ask without a terminal; nothing was changed")]
    NoTerminal,
    #[error("setup needs root")]
    NotRoot,
    #[error("another `vctl-agent setup` has run for a minute")]
    Busy,
    #[error("`{}` is not the root of a system", path.display())]
    NoRoot {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("an earlier setup was interrupted")]
    Interrupted,
    #[error("cannot read the journal `{path}`: {why}")]
    Journal { path: String, why: String },
    #[error("`/usr/sbin/vctl-agent` is not an executable file: sshd would refuse every login")]
    NoProgram,
    #[error("`/usr/sbin/vctl-agent` does not run here: {why}")]
    ProgramFails { why: String },
    #[error("the check `{id}` fails: {seen}")]
    Host {
        id: &'static str,
        seen: String,
        fix: String,
    },
    #[error("{seen}; with the PAM line, sshd could refuse every login")]
    Confined { seen: String, fix: String },
    #[error("no sshd is installed")]
    NoSshd,
    #[error("sshd refuses its configuration: {why}")]
    SshdConfig { why: String },
    #[error(
        "`UsePAM` is not `yes`, and sshd_config does not include `/etc/ssh/sshd_config.d/*.conf`"
    )]
    NoInclude,
    #[error("sshd still does not use PAM: a line of its configuration before the snippet wins")]
    PamStaysOff,
    #[error(transparent)]
    Pam(#[from] EditError),
    #[error("the stamp line at {place} does not refuse logins, and `--strict` was given")]
    NotStrict { place: String },
    #[error("no collector answers at `{socket}`, so a strict line would refuse every login")]
    NoCollector { socket: String },
    #[error("the collector does not answer at `{socket}`, so nothing would record the next login")]
    SilentCollector { socket: String },
    #[error(
        "the host is set up, but the collector has not opened the wrapped secret id in `{path}`"
    )]
    StaysWrapped { path: String },
    #[error(
        "this machine has no systemctl to enable the collector in the image, so `mode: strict` would refuse every login"
    )]
    NoSystemctl,
    #[error("cannot read the enrolment `{path}`: {why}")]
    Enrolment { path: String, why: String },
    #[error(
        "the secret id of the enrolment was already used or has expired, and would replace the opened one in `{path}`"
    )]
    UsedEnrolment { path: String },
    #[error("cannot ask Vault whether the enrolment is unused, before it replaces `{path}`: {why}")]
    UnknownEnrolment { path: String, why: String },
    #[error("`{file}` says `{there}`, and the setup needs `{needed}`")]
    OtherValue {
        file: &'static str,
        there: String,
        needed: String,
    },
    #[error("`{key}` names `{path}`, which does not exist")]
    NoAuthority { key: &'static str, path: String },
    #[error("`{path}` {why}, so the agent would refuse it")]
    Untrusted { path: String, why: &'static str },
    #[error("`{path}` is not valid for the agent")]
    Config {
        path: String,
        #[source]
        source: ConfigError,
    },
    /// The old file is valid, so the mistake is in a line of the enrolment.
    #[error("`{path}` would not be valid with the lines of the enrolment")]
    NewLines {
        path: String,
        #[source]
        source: ConfigError,
    },
    #[error("`{path}` would not be valid with the lines of the enrolment")]
    Centre {
        path: String,
        #[source]
        source: CentreError,
    },
    #[error("`{path}` is not a regular file")]
    NotAFile { path: String },
    #[error("`{path}` is not a directory")]
    NotADirectory { path: String },
    #[error("`{path}` is a link without a target")]
    NoTarget { path: String },
    #[error("`{unit}` is masked by `{path}`")]
    Masked {
        unit: &'static str,
        path: String,
        fix: String,
    },
    #[error(transparent)]
    LeavesRoot(#[from] LeavesRoot),
    #[error("cannot read `{path}`")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot write `{path}`")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("`{command}` failed: {why}")]
    Command { command: String, why: String },
    #[error("the stamp line at {} line {} was not added by setup", .0.file, .0.line)]
    LineOfOthers(StampLine),
    #[error("the step failed, and the steps before it are undone")]
    RolledBack(#[source] Box<SetupError>),
    #[error("the step failed ({step}), and {left} could not be restored")]
    HalfDone { step: Box<SetupError>, left: String },
    #[error("{left} could not be restored")]
    NotRestored { left: String },
}

impl SetupError {
    /// Exit status of `Busy`, with which a removal of the package tells it from an undo that failed.
    pub const BUSY: u8 = 75;

    /// Returns the next command.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoTerminal => "pass `--yes` to carry out the steps",
            Self::NotRoot => "run the same command with sudo",
            Self::Busy => "wait until it ends",
            Self::Interrupted => "vctl-agent setup --undo",
            Self::Journal { .. } => {
                "restore that file; or run `vctl-agent pam-line remove`, disable the units, and remove that directory"
            }
            Self::NoProgram => "install -m 0755 vctl-agent /usr/sbin/vctl-agent",
            Self::ProgramFails { .. } => "install the vctl-agent of this architecture",
            Self::Host { fix, .. } | Self::Masked { fix, .. } => return Some(fix.clone()),
            Self::Confined { fix, .. } => {
                return Some(format!(
                    "{fix}; keep a root shell open, run `vctl-agent pam-line add`, test a login, and run setup again"
                ));
            }
            Self::NoSshd => "install the OpenSSH server",
            Self::SshdConfig { .. } => "fix what `sshd -t` reports, then run setup again",
            Self::NoInclude => "set `UsePAM yes` in /etc/ssh/sshd_config",
            Self::PamStaysOff => "remove `UsePAM no` from /etc/ssh/sshd_config",
            Self::Pam(EditError::NoProgram { .. }) => "install vctl-agent there first",
            Self::Pam(EditError::Several { .. }) => {
                "remove all of these lines except the first, then run setup again"
            }
            Self::Pam(EditError::Jump { .. }) => {
                "change the number in that line by hand, with the line of deploy/audit/pam.d/vctl-stamp"
            }
            Self::Pam(EditError::Skips { .. }) => {
                "make that line `optional`, or add the line of deploy/audit/pam.d/vctl-stamp above it by hand"
            }
            Self::Pam(EditError::Continued { .. }) => "remove the backslash at its end",
            Self::Pam(EditError::NotUtf8 { .. }) => {
                "change the line of deploy/audit/pam.d/vctl-stamp by hand"
            }
            Self::Pam(EditError::OneFile { .. }) => "add the line of deploy/audit/pam.d/vctl-stamp",
            Self::NotStrict { .. } => {
                "while the collector runs: `vctl-agent pam-line remove`, `vctl-agent pam-line add --strict`; then put a \
                 break-glass line above it again, and run setup again"
            }
            Self::SilentCollector { .. } => {
                "systemctl status vctl-collect.service; journalctl -u vctl-collect.service"
            }
            Self::StaysWrapped { .. } => {
                "journalctl -u vctl-collect.service; if the secret id has expired or was used: vctl host enroll HOST"
            }
            Self::NoCollector { .. } => "start it first: /usr/sbin/vctl-agent collect --local",
            Self::NoSystemctl => "install systemd on this machine, or run setup on the host itself",
            Self::LeavesRoot(_) | Self::Pam(EditError::LeavesRoot(_)) => {
                "replace it by a relative link, or run setup on the host itself"
            }
            Self::Untrusted { path, .. } => {
                return Some(format!("chown root:root {path}; chmod go-w {path}"));
            }
            Self::Config { .. } => "correct that file, then run setup again",
            Self::NewLines { .. } | Self::Centre { .. } => {
                "write the enrolment again: vctl host enroll HOST --out FILE"
            }
            Self::NotAFile { .. } | Self::NotADirectory { .. } => {
                "move it away, then run setup again"
            }
            Self::NoTarget { .. } => "remove the link, or create its target, then run setup again",
            Self::Enrolment { .. } => "write it with `vctl host enroll HOST --out FILE`",
            Self::UsedEnrolment { .. } => {
                "the host keeps its identity; for a new one: vctl host enroll HOST --out FILE"
            }
            Self::UnknownEnrolment { .. } => {
                "the host keeps its identity; run setup again when this machine reaches Vault"
            }
            Self::OtherValue { .. } => "change that line, or move the file away",
            Self::NoAuthority { .. } => "copy the CA certificate to that path",
            Self::LineOfOthers(line) => {
                let service = line.file.strip_prefix("/etc/pam.d/");
                return Some(match service.filter(|_| line.is_removable) {
                    Some("sshd") => "remove it: vctl-agent pam-line remove".to_owned(),
                    Some(service) => {
                        format!("remove it: vctl-agent pam-line remove --service {service}")
                    }
                    None => "remove that line by hand".to_owned(),
                });
            }
            Self::RolledBack(cause) => return cause.hint(),
            Self::HalfDone { .. } | Self::NotRestored { .. } => {
                "fix the cause, then run `vctl-agent setup --undo` again"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_a_command_only_where_it_works() {
        let hint = |is_removable| {
            let file = "/etc/pam.d/login".to_owned();
            let line = 3;
            let line = StampLine {
                file,
                line,
                is_removable,
            };
            SetupError::LineOfOthers(line).hint().unwrap()
        };
        assert!(hint(true).ends_with("pam-line remove --service login"));
        // `pam-line remove` edits lines of the type `session` only.
        assert_eq!(hint(false), "remove that line by hand");
    }
}
