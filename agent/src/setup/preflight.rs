//! Refuses a host on which a step would fail, or could lock users out, before any change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use super::error::SetupError;
use super::host::Host;
use super::shipped::AGENT;
use super::{SetupOptions, systemd};
use crate::check::{self, Finding, SshdFact, Status};
use crate::config::{Config, Mode};
use crate::pam::{self, LineOptions, PamFiles, Preview};

/// Findings of `check` that setup itself puts right, or judges with the line that it will add.
const OF_SETUP: [&str; 6] = [
    "sshd",
    "pam_stamp",
    "pam_loginuid",
    "pam_systemd",
    "pam_env",
    "pins",
];

/// Refuses a program that PAM could not run: with the line, sshd would refuse every login.
pub(super) fn program_runs(host: &Host) -> Result<(), SetupError> {
    let program = host.at(AGENT);
    let is_there = fs::metadata(&program)
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
    if !is_there {
        return Err(SetupError::NoProgram);
    }
    if !host.is_this_machine() {
        return Ok(());
    }
    let output = Command::new(&program)
        .arg("version")
        .stdin(Stdio::null())
        .output();
    let why = match output {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => output.status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(SetupError::ProgramFails { why })
}

/// Refuses a kernel or a mount that the collector cannot work with.
///
/// Returns the reason for which sshd may be unable to run the program, and a fix.
pub(super) fn machine_is_ready(
    host: &Host,
    config: &Config,
) -> Result<Option<(String, String)>, SetupError> {
    // The mode of the next boot: a machine can be permissive now and enforcing then.
    let selinux = fs::read_to_string(host.at("/etc/selinux/config")).unwrap_or_default();
    let at_boot = || check::selinux_at_boot(&selinux).and_then(reason);
    if !host.is_this_machine() {
        return Ok(at_boot());
    }
    let findings = check::run(config, true).findings;
    let is_missing =
        |finding: &&Finding| finding.status == Status::Fail && !OF_SETUP.contains(&finding.id);
    if let Some(finding) = findings.iter().find(is_missing).cloned() {
        return Err(SetupError::Host {
            id: finding.id,
            seen: finding.seen,
            fix: finding.fix.unwrap_or_default(),
        });
    }
    let mut findings = findings.into_iter();
    Ok(findings
        .find(|finding| finding.id == "mac")
        .and_then(reason)
        .or_else(|| at_boot().filter(|_| host.at("/sys/fs/selinux/enforce").exists())))
}

fn reason(finding: Finding) -> Option<(String, String)> {
    let is_met = finding.status == Status::Pass;
    (!is_met).then(|| (finding.seen, finding.fix.unwrap_or_default()))
}

/// Returns the line that is missing. Refuses a stack in which the line would not work.
pub(super) fn pam_line(
    host: &Host,
    options: &SetupOptions,
    config: &Config,
    sshd: SshdFact,
) -> Result<Option<LineOptions>, SetupError> {
    let (_, service) = check::sshd(&sshd);
    let line = LineOptions {
        root: host.root().to_owned(),
        service: service.clone(),
        program: AGENT.to_owned(),
        strict: options.strict,
    };
    let mut files = PamFiles::read(host.root());
    let is_there = match pam::preview(&line)? {
        Preview::Unchanged { is_strict, place } => {
            if options.strict && !is_strict {
                return Err(SetupError::NotStrict { place });
            }
            true
        }
        Preview::Text(text) => {
            files.insert(&service, &text);
            false
        }
    };
    let (_, findings) = check::pam(host.root(), config, sshd, files);
    for finding in findings {
        if finding.status == Status::Fail {
            return Err(SetupError::Host {
                id: finding.id,
                seen: finding.seen,
                fix: finding.fix.unwrap_or_default(),
            });
        }
    }
    Ok((!is_there).then_some(line))
}

/// Refuses a strict login where setup cannot start the collector.
pub(super) fn collector_answers(
    host: &Host,
    options: &SetupOptions,
    config: &Config,
) -> Result<(), SetupError> {
    if !(options.strict || config.mode == Mode::Strict) || systemd::enables(host) {
        return Ok(());
    }
    if !host.is_this_machine() {
        return Err(SetupError::NoSystemctl);
    }
    if UnixStream::connect(config.socket()).is_err() {
        return Err(SetupError::NoCollector {
            socket: config.socket().display().to_string(),
        });
    }
    Ok(())
}
