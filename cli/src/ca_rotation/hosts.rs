//! Runs the changes on every host with a certificate, several hosts at a time.
//!
//! Each host is a separate `vctl ssh` process: so each visit is in the access log and uses the jump hosts of the
//! inventory, and a host that hangs delays only itself.

use std::collections::BTreeSet;
use std::process::Stdio;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::process::Command;

use crate::error::CliError;
use crate::exit_code::Exit;
use crate::trust_ca::{Fingerprint, ScriptReport, TrustSpec, bootstrap};

/// A host to change, and the CAs that it trusted when last reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RotationHost {
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) ca_role: String,
    pub(crate) trusted: BTreeSet<String>,
    /// The CA of its current host certificate.
    pub(crate) certificate_ca: Option<String>,
}

/// A host that could not be changed, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FailedHost {
    pub(crate) host: String,
    pub(crate) why: String,
}

/// The work on each host.
pub(crate) struct Visit<'a> {
    pub(crate) spec: &'a TrustSpec,
    /// The mount of a CA whose certificate the host must accept afterwards.
    pub(crate) proof: Option<&'a str>,
    /// Options of this command to pass to the `vctl ssh` processes.
    pub(crate) options: &'a [String],
}

/// Visits all hosts. Returns for each, as it is done, the CAs that it trusts now, or the error.
pub(crate) fn visit<'a>(
    hosts: &'a [RotationHost],
    visit: &'a Visit<'a>,
    at_once: usize,
) -> impl futures_util::Stream<Item = (&'a RotationHost, Result<Vec<Fingerprint>, CliError>)> + 'a {
    stream::iter(hosts)
        .map(move |host| async move { (host, visit.go(host).await) })
        .buffer_unordered(at_once)
}

impl Visit<'_> {
    async fn go(&self, host: &RotationHost) -> Result<Vec<Fingerprint>, CliError> {
        let shell: &[&str] = match &*host.user {
            "root" => &["sh", "-s"],
            _ => &["sudo", "-n", "sh", "-s"],
        };
        let ended = self.ssh(host, &[], shell, &self.spec.script()).await?;
        let report = ScriptReport::read(&ended.output);
        if report.is_empty() {
            return Err(why(&ended));
        }
        report.outcome(&host.name, ended.code)?;
        if let Some(mount) = self.proof {
            let ended = self
                .ssh(host, &["--ca-mount", mount], &["true"], "")
                .await?;
            if !proves_login(&ended) {
                return Err(why(&ended));
            }
        }
        Ok(report.trusted())
    }

    async fn ssh(
        &self,
        host: &RotationHost,
        options: &[&str],
        remote: &[&str],
        input: &str,
    ) -> Result<bootstrap::ProgramOutput, CliError> {
        let started = async {
            let mut command = Command::new(std::env::current_exe()?);
            command
                .args(self.options)
                .args(["ssh", "--quiet", "--no-input", "--server", &host.name])
                .args(options)
                .arg("--")
                .args(remote)
                // Colours would hide the beginning of its errors.
                .env("NO_COLOR", "1")
                .env_remove("CLICOLOR_FORCE")
                .stderr(Stdio::piped());
            bootstrap::run_with_input(command, input).await
        };
        started.await.map_err(|error| {
            CliError::new(Exit::Failure, "cannot run `vctl ssh`").caused_by(&error)
        })
    }
}

/// Returns whether `vctl ssh` logged in to the host. `true` may be replaced by a forced command with any status, but
/// vctl's own failures have statuses below 128 too, and state an error. A forced command that prints such a line and fails
/// proves nothing.
fn proves_login(ended: &bootstrap::ProgramOutput) -> bool {
    let errors = String::from_utf8_lossy(&ended.errors);
    let states_error = || errors.lines().any(|line| line.starts_with(ERROR));
    ended.code == 0 || ended.code <= 127 && !states_error()
}

/// Beginning of the line in which vctl states why it failed.
const ERROR: &str = "error: ";

/// Returns the error that `vctl ssh` or the remote shell printed last.
fn why(ended: &bootstrap::ProgramOutput) -> CliError {
    let said = String::from_utf8_lossy(&ended.errors);
    let mut lines = said.lines().map(str::trim);
    if let Some(message) = lines.find_map(|line| line.strip_prefix(ERROR)) {
        let mut error = CliError::new(Exit::Failure, message);
        let causes = lines.map_while(|line| line.strip_prefix("caused by: "));
        error.causes = causes.map(str::to_owned).collect();
        return error;
    }
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    let message = last.map_or_else(
        || format!("it exited with {} and printed nothing", ended.code),
        str::to_owned,
    );
    CliError::new(Exit::Failure, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_of_the_remote_side_proves_a_login() {
        for (code, errors, proves) in [
            (0, "", true),
            (0, "error: of a forced command\n", true),
            (1, "", true),
            (1, "only git is allowed\n", true),
            (77, "permission denied\n", true),
            (127, "sh: 1: true: not found\n", true),
            (128, "", false),
            (255, "", false),
            // vctl's own failures before any login.
            (1, "error: cannot store the access\n", false),
            (2, "error: a value is missing\n", false),
            (66, "error: no host has this name\n", false),
            (
                69,
                "note: x\nerror: cannot reach Vault\n  caused by: refused\n",
                false,
            ),
            (75, "error: another vctl is logging in\n", false),
            (76, "error: the host key changed\n", false),
            (
                77,
                "error: `web-1` does not accept the certificate\n",
                false,
            ),
            (78, "error: `ssh_sign` is not a duration\n", false),
        ] {
            let ended = bootstrap::ProgramOutput {
                output: Vec::new(),
                errors: errors.as_bytes().to_vec(),
                code,
            };
            assert_eq!(proves_login(&ended), proves, "{code} {errors}");
        }
    }

    #[test]
    fn error_of_vctl_ssh_is_reported_with_its_cause() {
        let why = |errors: &str| {
            let (output, errors) = (Vec::new(), errors.as_bytes().to_vec());
            let code = 255;
            let error = why(&bootstrap::ProgramOutput {
                output,
                errors,
                code,
            });
            (error.message, error.causes)
        };
        let said = "note: x\nerror: cannot connect\n  caused by: refused\nhint: run y\n";
        let wanted = ("cannot connect".to_owned(), vec!["refused".to_owned()]);
        assert_eq!(why(said), wanted);
        assert_eq!(why("sh: no sudo\n\n").0, "sh: no sudo");
        assert_eq!(why("").0, "it exited with 255 and printed nothing");
    }
}
