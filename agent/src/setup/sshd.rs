//! sshd of the host: the test of its configuration, its settings, and the reload.

use std::fs;
use std::process::{Command, Stdio};

use super::error::SetupError;
use super::host::Host;
use super::systemd;
use crate::check::{self, SshdFact};

const PROGRAM: &str = "/usr/sbin/sshd";

/// Reports of `sshd -t` that come after it has read the whole configuration: an image has no host keys yet, and on a
/// host with socket activation the directory exists only while sshd runs.
const AFTER_READING: [&str; 2] = [
    "no hostkeys available",
    "Missing privilege separation directory",
];

/// Runs `sshd -t`.
///
/// # Errors
/// `NoSshd`, or `SshdConfig` with the report of sshd.
pub(super) fn test(host: &Host) -> Result<(), SetupError> {
    if !host.at(PROGRAM).exists() {
        return Err(SetupError::NoSshd);
    }
    let refused = |why: String| SetupError::SshdConfig { why };
    let output = program(host, "-t").output();
    let output = output.map_err(|error| refused(format!("cannot run it: {error}")))?;
    let report = String::from_utf8_lossy(&output.stderr);
    let reason = report.lines().map(str::trim).rfind(|line| !line.is_empty());
    let is_later = |line: &str| AFTER_READING.iter().any(|known| line.contains(known));
    if output.status.success() || reason.is_some_and(is_later) {
        return Ok(());
    }
    // The first lines name file and line of each mistake.
    Err(refused(report.trim().replace('\n', "; ").replace('\r', "")))
}

/// Returns the settings of sshd.
pub(super) fn settings(host: &Host) -> SshdFact {
    match check::output(&mut program(host, "-T")) {
        Some(effective) => SshdFact::Effective(effective),
        None => check::sshd_files(host.root()),
    }
}

/// Returns whether sshd_config includes the directory of snippets.
pub(super) fn reads_snippets(host: &Host) -> bool {
    let text = fs::read_to_string(host.at("/etc/ssh/sshd_config")).unwrap_or_default();
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| line.to_ascii_lowercase().starts_with("include"))
        .any(|line| line.contains("/etc/ssh/sshd_config.d/*.conf"))
}

/// How the running sshd reads its configuration again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Running {
    Unit(&'static str),
    /// A command for the user: no unit that setup knows runs sshd.
    ByHand(String),
    /// sshd starts with the next connection, or runs only on the host that boots the image.
    StartsLater,
}

impl Running {
    pub(super) fn of(host: &Host) -> Self {
        if !host.is_this_machine() {
            return Self::StartsLater;
        }
        let is_active = |unit: &&str| systemd::runs(host) && systemd::is(host, "is-active", unit);
        if let Some(unit) = ["ssh.service", "sshd.service"].into_iter().find(is_active) {
            return Self::Unit(unit);
        }
        let settings = match settings(host) {
            SshdFact::Effective(text) => text,
            SshdFact::Files(_) | SshdFact::NotInstalled => String::new(),
        };
        if let Some(file) = live_pid_file(&settings) {
            return Self::ByHand(format!("kill -HUP $(cat {file})"));
        }
        if ["ssh.socket", "sshd.socket"].iter().any(is_active) {
            return Self::StartsLater;
        }
        Self::ByHand("restart it, if it runs".to_owned())
    }

    pub(super) fn unit(&self) -> Option<&'static str> {
        match self {
            Self::Unit(unit) => Some(unit),
            Self::ByHand(_) | Self::StartsLater => None,
        }
    }

    /// Returns the next step of the user, with the reason.
    pub(super) fn next(&self, why: &str) -> Option<String> {
        match self {
            Self::ByHand(command) => Some(format!("reload sshd, {why}: {command}")),
            Self::Unit(_) | Self::StartsLater => None,
        }
    }
}

/// Returns the file with the pid of a running sshd, by the output of `sshd -T`.
fn live_pid_file(settings: &str) -> Option<&str> {
    let mut lines = settings.lines();
    let named = lines.find_map(|line| line.strip_prefix("pidfile "));
    let file = named.unwrap_or("/run/sshd.pid").trim();
    // It becomes a word of a command.
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-".contains(&b);
    if !file.bytes().all(is_plain) {
        return None;
    }
    let pid: u32 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    name.starts_with("sshd").then_some(file)
}

/// Makes the sshd of a unit read its configuration again.
pub(super) fn reload(host: &Host, unit: &str) -> Result<(), SetupError> {
    systemd::systemctl(host, &["reload", unit])
}

fn program(host: &Host, option: &str) -> Command {
    let mut command = if host.is_this_machine() {
        Command::new(PROGRAM)
    } else {
        let mut command = Command::new("chroot");
        command.arg(host.root()).arg(PROGRAM);
        command
    };
    command.arg(option).stdin(Stdio::null());
    command
}
