//! systemd of the host: whether it runs, and its units.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::error::SetupError;
use super::host::Host;
use super::shipped::AGENT;

/// Returns whether systemd manages the running machine; see sd_booted(3).
pub(super) fn runs(host: &Host) -> bool {
    host.is_this_machine() && host.at("/run/systemd/system").is_dir()
}

/// Returns whether units can be enabled: by the running systemd, or for an image by this machine's `systemctl --root`.
pub(super) fn enables(host: &Host) -> bool {
    if host.is_this_machine() {
        return runs(host);
    }
    command(host, &["--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Asks `is-active` or `is-enabled`.
pub(super) fn is(host: &Host, question: &str, unit: &str) -> bool {
    let output = command(host, &[question, "--quiet", unit]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Returns whether the unit runs an older agent: an upgrade without a package replaced the file since the unit started.
pub(super) fn runs_replaced(host: &Host, unit: &str) -> bool {
    if !runs(host) {
        return false;
    }
    let output = command(host, &["show", "--property=MainPID", "--value", unit]).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    let pid: Option<u32> = String::from_utf8_lossy(&output).trim().parse().ok();
    // The kernel adds this to the path of a program without a file. systemd prints 0 for a unit that does not run.
    let replaced = format!("{AGENT} (deleted)");
    pid.is_some_and(|pid| {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(&replaced))
    })
}

pub(super) fn systemctl(host: &Host, arguments: &[&str]) -> Result<(), SetupError> {
    let failed = |why: String| SetupError::Command {
        command: format!("systemctl {}", arguments.join(" ")),
        why,
    };
    let output = command(host, arguments).output();
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let report = String::from_utf8_lossy(&output.stderr);
    Err(failed(match report.trim() {
        "" => output.status.to_string(),
        report => report.replace('\n', "; "),
    }))
}

fn command(host: &Host, arguments: &[&str]) -> Command {
    let mut command = Command::new("systemctl");
    if !host.is_this_machine() {
        command.arg(format!("--root={}", host.root().display()));
    }
    command.args(arguments).stdin(Stdio::null());
    command
}
