//! `vctl-agent stamp`: the PAM session hook.
//!
//! PAM runs it as root while the login waits, so it never hangs and starts fast: no async runtime, no argument
//! parser, no files except its small configuration.

use std::env;
use std::ffi::OsString;
use std::panic;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use nix::unistd::{Group, User, getgrouplist};
use vctl_common::causes::WithCauses;
use vctl_common::id::SessionId;
use vctl_common::time::BootNs;

use super::client::{self, AskError};
use super::syslog::{Severity, syslog};
use crate::config::{Config, KEYS, Mode, load_for_stamp};
use crate::probe::maps::note_refused;
use crate::proc::reader::{ProcError, ProcReader};
use crate::session::late_login::{self, LateLoginError, LateLoginFile};
use crate::session::login::kernel_facts;
use crate::session::protocol::{self, FALLBACK_DEADLINE, HELD_FOR, StampReply, StampRequest};
use crate::session::{boot_now, session_record};

/// Most bytes of a field that PAM fills; a longer one is cut, because it is not worth refusing a login.
const FIELD_MAX: usize = 1024;

/// True in `mode: strict`, as far as the mode is known: an error of the hook itself then refuses the login.
static STRICT: AtomicBool = AtomicBool::new(false);

/// Runs the hook and returns its exit status: 0 lets the login continue.
///
/// The PAM line is `required` in both modes, so in `best-effort` every path through the hook ends with 0; the
/// collector finds a login that continues without its stamp.
pub fn run(arguments: impl Iterator<Item = OsString>) -> u8 {
    let started = boot_now();
    panic::set_hook(Box::new(|panic| {
        syslog(Severity::Error, &format!("the hook failed: {panic}"));
        #[allow(
            clippy::exit,
            reason = "released programs abort on a panic, and that would refuse the login"
        )]
        process::exit(i32::from(STRICT.load(Ordering::Relaxed)));
    }));
    let pam = PamEnv::read(env::vars_os());
    match pam.get("PAM_TYPE").as_deref() {
        Some("open_session") => {}
        Some(_) => return 0,
        None => {
            say(
                "`PAM_TYPE` is not set: this command is for pam_exec; `vctl-agent check` shows the PAM line",
            );
            return 2;
        }
    }
    let request = pam.request(started);
    if session_record::is_inside_a_session(&request.service) {
        return 0;
    }

    let (file, flags, mut problems) = parse_arguments(arguments);
    STRICT.store(says_strict(&flags), Ordering::Relaxed);
    let (config, more) = load_for_stamp(file.as_deref(), &flags);
    STRICT.store(config.mode == Mode::Strict, Ordering::Relaxed);
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
    let spare = (config.clone(), request.clone());
    let noting = thread::Builder::new().spawn(move || {
        let _ = done.send(without_stamp(&config, request, &answer));
    });
    if let Err(error) = noting {
        // At the limit of processes. Slow disks can then hold the login longer.
        let (config, request) = spare;
        return without_stamp(&config, request, &Err(AskError::Thread(error)));
    }
    // After a timeout the thread still runs; it ends with this process.
    result.recv_timeout(FALLBACK_DEADLINE).unwrap_or_else(|_| {
        syslog(
            Severity::Error,
            "the file of the late login could not be written in time",
        );
        u8::from(mode == Mode::Strict)
    })
}

/// Set by the PAM line alone, before the configuration is read.
fn says_strict(flags: &[(String, String)]) -> bool {
    let mut modes = flags.iter().filter(|(key, _)| key == "mode");
    modes.any(|(_, mode)| mode == "strict")
}

/// The reason why the login has no stamp.
type NoStamp = Result<StampReply, AskError>;

fn ask(config: &Config, request: &StampRequest) -> NoStamp {
    let line = protocol::encode(request).map_err(AskError::Answer)?;
    // Counted from the start of the hook, like in the collector: reading the configuration is part of it.
    let left = HELD_FOR.saturating_sub(boot_now().since(request.hook_started));
    client::ask(&config.socket(), &line, left)
}

/// Decision on a login without a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Allowed; a file asks for a late stamp.
    Late {
        break_glass: bool,
    },
    Refused,
}

/// `break_glass` is called only when it matters: group lookups may go over the network.
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
        Err(error) => WithCauses(error).to_string(),
    };
    let group = config.break_glass_group.as_deref();
    match verdict(config.mode, || {
        group.is_some_and(|group| is_member(&request.user, group))
    }) {
        Verdict::Refused => {
            tell_of_refusal(config);
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
            let noted = leave_late_login(config, &request);
            let file = match &noted {
                Ok(()) => "a late stamp is requested".to_owned(),
                Err(error) => format!("no late stamp requested: {}", WithCauses(error)),
            };
            let severity = if noted.is_ok() {
                Severity::Warning
            } else {
                Severity::Error
            };
            syslog(
                severity,
                &format!(
                    "accepted {} without a stamp ({because}): {why}; {file}",
                    who(&request)
                ),
            );
            0
        }
    }
}

/// Notes the refusal in the probe's map of logins, so that the login does not count as one without a stamp.
fn tell_of_refusal(config: &Config) {
    let parent = u32::try_from(nix::unistd::getppid().as_raw()).unwrap_or(0);
    if let Some(audit_session) = ProcReader::host().audit_session(parent) {
        // Without a probe the login is not noted.
        let _ = note_refused(&config.pin_dir, audit_session);
    }
}

fn leave_late_login(config: &Config, request: &StampRequest) -> Result<(), NotWritten> {
    let reader = ProcReader::host();
    let parent = u32::try_from(nix::unistd::getppid().as_raw()).unwrap_or(0);
    let file = LateLoginFile {
        request: request.clone(),
        login: kernel_facts(&reader, parent)?,
        boot: reader.boot_id().map_err(|_| NotWritten::Boot)?,
    };
    Ok(late_login::write(&config.pending_dir, &file)?)
}

/// The reason why the file of a late login is missing; then only syslog has the login.
#[derive(Debug, thiserror::Error)]
enum NotWritten {
    #[error("the boot id cannot be read")]
    Boot,
    #[error(transparent)]
    Login(#[from] ProcError),
    #[error(transparent)]
    File(#[from] LateLoginError),
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

/// The environment that pam_exec passes.
struct PamEnv(Vec<(OsString, OsString)>);

impl PamEnv {
    fn read(vars: impl Iterator<Item = (OsString, OsString)>) -> Self {
        Self(vars.collect())
    }

    /// Returns the last value of a name.
    ///
    /// pam_exec appends its own `PAM_*` to the PAM environment, in which a user may have set the same names
    /// (pam_env with `user_readenv=1`); getenv(3) would return the user's value.
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
            // Not cut: execve(2) limits it, and the certificate in it identifies the login.
            auth_info: self.get("SSH_AUTH_INFO_0"),
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

/// Reads `--config PATH` and `--key value`, like the daemon. Unknown arguments are reported and left out: a
/// typing mistake in a PAM line must not lock out every user.
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

/// sshd shows stderr to the user only if pam_exec has `stdout`.
#[allow(
    clippy::print_stderr,
    reason = "the hook has no other way to reach the user"
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
    fn the_longest_variables_of_execve_fit_a_line() {
        // Control characters grow sixfold in JSON.
        let longest = "\u{1}".repeat(128 * 1024);
        let vars: Vec<(&str, &str)> = [
            "PAM_USER",
            "PAM_SERVICE",
            "PAM_RHOST",
            "PAM_TTY",
            "SSH_CONNECTION",
            "SSH_AUTH_INFO_0",
        ]
        .map(|name| (name, longest.as_str()))
        .to_vec();
        let request = pam(&vars).request(BootNs(1));
        assert_eq!(request.user.len(), FIELD_MAX);
        assert_eq!(request.auth_info.as_deref(), Some(longest.as_str()));
        assert!(protocol::encode(&request).is_ok());
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
    fn arguments_match_the_daemon_and_mistakes_are_reported() {
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
