//! `vctl-agent stamp`: the PAM session hook.
//!
//! PAM runs it as root while the login waits, so it never hangs and starts fast: no async runtime,
//! no argument parser, nothing read but its small configuration.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::{Group, User, getgrouplist};
use vctl_common::id::SessionId;
use vctl_common::time::BootNs;

use super::client::{self, AskError};
use super::login::{LoginError, LoginReader};
use super::pending::{self, Marker, MarkerError};
use super::protocol::{self, HELD_FOR, ProtocolError, StampReply, StampRequest};
use super::syslog::{Severity, syslog};
use super::{auth_info, boot_now, opened};
use crate::config::{Config, KEYS, Mode, load_for_stamp};

/// What follows when there was none asks disks and name services, which hang when they are sick.
pub const FALLBACK_DEADLINE: Duration = Duration::from_secs(3);

/// Fields that PAM fills are short; a longer one is not worth refusing a login for.
const FIELD_MAX: usize = 1024;

/// Runs the hook and returns its exit status: 0 lets the login go on.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    let started = boot_now();
    let pam = PamEnv::read(env::vars_os());
    match pam.get("PAM_TYPE").as_deref() {
        Some("open_session") => {}
        Some(_) => return 0,
        None => {
            say("`PAM_TYPE` is not set: this command is for pam_exec, see deploy/audit/pam.d");
            return 2;
        }
    }
    let request = pam.request(started);
    if opened::is_inside_a_session(&request.service) {
        return 0;
    }

    let (file, flags, mut problems) = parse_arguments(arguments);
    let (config, more) = load_for_stamp(file.as_deref(), &flags);
    problems.extend(more);
    for problem in &problems {
        syslog(Severity::Warning, &format!("configuration: {problem}"));
    }

    let answer = ask(&config, &request);
    if matches!(answer, Ok(StampReply::Stamped)) {
        return 0;
    }
    let mode = config.mode;
    let (done, result) = mpsc::channel();
    thread::spawn(move || done.send(without_stamp(&config, request, &answer)));
    // The thread is left behind on a timeout: the process ends with this one.
    result.recv_timeout(FALLBACK_DEADLINE).unwrap_or_else(|_| {
        syslog(Severity::Error, "the login could not be noted in time");
        u8::from(mode == Mode::Strict)
    })
}

/// Why the login has no stamp.
type NoStamp = Result<StampReply, AskError>;

fn ask(config: &Config, request: &StampRequest) -> NoStamp {
    let line = fitting(request).map_err(AskError::Answer)?;
    // From the hook's start, which is what the collector counts from too: reading the configuration is
    // part of it.
    let left = HELD_FOR.saturating_sub(boot_now().since(request.hook_started));
    client::ask(&config.socket(), &line, left)
}

fn fitting(request: &StampRequest) -> Result<Vec<u8>, ProtocolError> {
    protocol::encode(request).or_else(|_| {
        // Control characters grow sixfold in JSON. What is left reads as a truncated key, which is
        // then recorded as the problem it is.
        let mut shorter = request.clone();
        shorter.auth_info = shorter
            .auth_info
            .map(|info| cut(&info, LINE_SAFE).to_owned());
        protocol::encode(&shorter)
    })
}

const LINE_SAFE: usize = 8 * 1024;

/// What becomes of a login that nobody stamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Let in; a marker says that it has to be stamped late.
    Late {
        break_glass: bool,
    },
    Refused,
}

/// `break_glass` is only asked when it matters: group lookups may go over the network.
fn verdict(mode: Mode, break_glass: impl FnOnce() -> bool) -> Verdict {
    match mode {
        Mode::BestEffort => Verdict::Late { break_glass: false },
        Mode::Strict if break_glass() => Verdict::Late { break_glass: true },
        Mode::Strict => Verdict::Refused,
    }
}

fn without_stamp(config: &Config, mut request: StampRequest, answer: &NoStamp) -> u8 {
    let why = match answer {
        Ok(StampReply::Stamped) => return 0,
        Ok(StampReply::Refused { reason }) => format!("refused by the collector: {reason}"),
        Err(error) => error.to_string(),
    };
    let group = config.break_glass_group.as_deref();
    match verdict(config.mode, || {
        group.is_some_and(|group| is_member(&request.user, group))
    }) {
        Verdict::Refused => {
            say(&format!(
                "login refused: this session cannot be recorded ({why})"
            ));
            syslog(
                Severity::Error,
                &format!("refused {}: {why}", who(&request)),
            );
            1
        }
        Verdict::Late { break_glass } => {
            request.break_glass = break_glass;
            let because = if break_glass {
                "break glass"
            } else {
                "best effort"
            };
            let noted = leave_marker(config, &request);
            let marker = match &noted {
                Ok(()) => "marker written".to_owned(),
                Err(error) => format!("no marker: {error}"),
            };
            let severity = if noted.is_ok() {
                Severity::Warning
            } else {
                Severity::Error
            };
            syslog(
                severity,
                &format!(
                    "let {} in without a stamp ({because}): {why}; {marker}",
                    who(&request)
                ),
            );
            0
        }
    }
}

fn leave_marker(config: &Config, request: &StampRequest) -> Result<(), NoMarker> {
    let reader = LoginReader::host();
    let parent = u32::try_from(nix::unistd::getppid().as_raw()).unwrap_or(0);
    let marker = Marker {
        request: request.clone(),
        login: reader.kernel_facts(parent)?,
        boot: reader.boot_id().ok_or(NoMarker::Boot)?,
    };
    Ok(pending::write(&config.pending_dir, &marker)?)
}

/// Why nothing will remind the collector of the login; syslog is then all there is.
#[derive(Debug, thiserror::Error)]
enum NoMarker {
    #[error("the boot id cannot be read")]
    Boot,
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    Marker(#[from] MarkerError),
}

fn who(request: &StampRequest) -> String {
    let from = request.rhost.as_deref().unwrap_or("this host");
    format!(
        "`{}` from `{}`",
        request.user.escape_debug(),
        from.escape_debug()
    )
}

fn is_member(user: &str, group: &str) -> bool {
    let Ok(Some(group)) = Group::from_name(group) else {
        return false;
    };
    let Ok(Some(account)) = User::from_name(user) else {
        return false;
    };
    let Ok(name) = std::ffi::CString::new(user) else {
        return false;
    };
    getgrouplist(&name, account.gid).is_ok_and(|groups| groups.contains(&group.gid))
}

/// The environment as pam_exec passes it.
struct PamEnv(Vec<(OsString, OsString)>);

impl PamEnv {
    fn read(vars: impl Iterator<Item = (OsString, OsString)>) -> Self {
        Self(vars.collect())
    }

    /// Returns the last value of that name.
    ///
    /// pam_exec appends its own `PAM_*` behind the PAM environment, into which a user may have put
    /// the same names (pam_env with `user_readenv=1`); getenv(3) would find the user's.
    fn get(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().rev().find(|(key, _)| key == name)?;
        Some(value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
    }

    fn field(&self, name: &str) -> Option<String> {
        self.get(name)
            .map(|value| cut(&value, FIELD_MAX).to_owned())
    }

    fn request(&self, started: BootNs) -> StampRequest {
        StampRequest {
            version: protocol::VERSION,
            session_id: SessionId::generate(),
            pam_type: "open_session".to_owned(),
            service: self.field("PAM_SERVICE").unwrap_or_default(),
            user: self.field("PAM_USER").unwrap_or_default(),
            rhost: self.field("PAM_RHOST"),
            tty: self.field("PAM_TTY"),
            auth_info: self
                .get("SSH_AUTH_INFO_0")
                .map(|info| cut(&info, auth_info::MAX_BYTES).to_owned()),
            ssh_connection: self.field("SSH_CONNECTION"),
            hook_started: started,
            hook_pid: std::process::id(),
            break_glass: false,
        }
    }
}

fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most))
        .unwrap_or_default()
}

type Arguments = (Option<PathBuf>, Vec<(String, String)>, Vec<String>);

/// Reads `--config PATH` and `--key value`, as the daemon takes them. What is unknown is said and
/// left out: a typing mistake in a PAM line must not lock everybody out.
fn parse_arguments(arguments: impl Iterator<Item = OsString>) -> Arguments {
    let (mut file, mut flags, mut problems) = (None, Vec::new(), Vec::new());
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        let Some(rest) = argument.strip_prefix("--") else {
            problems.push(format!("argument `{}` is no flag", argument.escape_debug()));
            continue;
        };
        let (flag, value) = match rest.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (rest.to_owned(), arguments.next()),
        };
        let Some(value) = value else {
            problems.push(format!("flag `--{}` has no value", flag.escape_debug()));
            continue;
        };
        match KEYS.iter().find(|key| key.flag() == flag) {
            _ if flag == "config" => file = Some(PathBuf::from(value)),
            Some(key) => flags.push((key.name.to_owned(), value)),
            None => problems.push(format!("unknown flag `--{}`", flag.escape_debug())),
        }
    }
    (file, flags, problems)
}

/// sshd shows stderr to nobody unless pam_exec has `stdout`; then the user reads why.
#[allow(
    clippy::print_stderr,
    reason = "the hook has no other way to tell the person logging in"
)]
fn say(text: &str) {
    eprintln!("vctl-agent stamp: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pam(vars: &[(&str, &str)]) -> PamEnv {
        PamEnv::read(vars.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn a_pam_variable_of_the_users_making_loses_to_pams_own() {
        let forged = pam(&[
            ("PAM_USER", "root"),
            ("PAM_RHOST", "127.0.0.1"),
            ("PAM_RHOST", "10.0.0.9"),
            ("PAM_USER", "deploy"),
        ]);
        let request = forged.request(BootNs(1));
        assert_eq!(
            (request.user.as_str(), request.rhost.as_deref()),
            ("deploy", Some("10.0.0.9"))
        );
    }

    #[test]
    fn an_endless_variable_is_cut_and_still_fits_a_line() {
        let escape = "\u{1}".repeat(1 << 20);
        let request =
            pam(&[("PAM_USER", &escape), ("SSH_AUTH_INFO_0", &escape)]).request(BootNs(1));
        assert_eq!(request.user.len(), FIELD_MAX);
        assert_eq!(
            request.auth_info.as_ref().map(String::len),
            Some(auth_info::MAX_BYTES)
        );
        assert!(fitting(&request).is_ok());
    }

    #[test]
    fn groups_are_asked_only_when_they_decide() {
        let asked = || panic!("asked for the group");
        assert_eq!(
            verdict(Mode::BestEffort, asked),
            Verdict::Late { break_glass: false }
        );
        assert_eq!(
            verdict(Mode::Strict, || true),
            Verdict::Late { break_glass: true }
        );
        assert_eq!(verdict(Mode::Strict, || false), Verdict::Refused);
    }

    #[test]
    fn arguments_are_read_as_the_daemon_reads_them_and_mistakes_are_said() {
        let arguments = [
            "--config",
            "/x",
            "--mode=strict",
            "--run-dir",
            "/r",
            "--modee",
            "x",
            "y",
            "--host",
        ];
        let (file, flags, problems) = parse_arguments(arguments.iter().map(OsString::from));
        assert_eq!(file, Some(PathBuf::from("/x")));
        let flag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(flags, [flag("mode", "strict"), flag("run_dir", "/r")]);
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
