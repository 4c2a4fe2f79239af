//! sshd of the host: the test of its configuration, its settings, and the reload.

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
    let text = std::fs::read_to_string(host.at("/etc/ssh/sshd_config")).unwrap_or_default();
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| line.to_ascii_lowercase().starts_with("include"))
        .any(|line| line.contains("/etc/ssh/sshd_config.d/*.conf"))
}

/// Makes a running sshd read its configuration again; one that does not run reads it when it starts.
pub(super) fn reload(host: &Host) -> Result<(), SetupError> {
    if !systemd::runs(host) {
        return Ok(());
    }
    for unit in ["ssh.service", "sshd.service"] {
        if systemd::is(host, "is-active", unit) {
            return systemd::systemctl(host, &["reload", unit]);
        }
    }
    Ok(())
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
