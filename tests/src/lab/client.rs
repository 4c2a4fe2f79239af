//! Logins with the real OpenSSH client, without the configuration of this machine.

use std::ffi::OsStr;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result};

use super::Lab;
use super::certificate::Certificate;

impl Lab {
    /// Logs in as the lab's first user, runs `command` there and waits for its end.
    pub fn ssh(&self, who: &Certificate, command: impl AsRef<OsStr>) -> Result<Output> {
        self.ssh_command(who, self.user())
            .arg(command)
            .stdin(Stdio::null())
            .output()
            .context("cannot run `ssh`")
    }

    /// Does the same as `ssh`. An exit status other than 0 is an error that contains the output of the command.
    pub fn ssh_ok(&self, who: &Certificate, command: impl AsRef<OsStr>) -> Result<String> {
        let output = self.ssh(who, command)?;
        anyhow::ensure!(
            output.status.success(),
            "ssh ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Does the same as `ssh`, without waiting.
    pub fn ssh_start(&self, who: &Certificate, command: impl AsRef<OsStr>) -> Result<Child> {
        self.ssh_command(who, self.user())
            .arg(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `ssh`")
    }

    /// Does the same as `ssh`, on a separate terminal.
    pub fn ssh_terminal(&self, who: &Certificate, command: impl AsRef<OsStr>) -> Result<Output> {
        self.ssh_command(who, self.user())
            .arg("-tt")
            .arg(command)
            .stdin(Stdio::null())
            .output()
            .context("cannot run `ssh`")
    }

    /// Returns `ssh` with all arguments up to the host. The caller adds the remote command.
    pub fn ssh_command(&self, who: &Certificate, user: &str) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(self.client_options(who))
            .args(["-p", &self.port().to_string()]);
        command.arg(format!("{user}@127.0.0.1"));
        command
    }

    /// Returns `scp`. `remote` turns a path into a path on the lab's host.
    pub fn scp_command(&self, who: &Certificate) -> Command {
        let mut command = Command::new("scp");
        command
            .arg("-q")
            .args(self.client_options(who))
            .args(["-P", &self.port().to_string()]);
        command
    }

    pub fn sftp_command(&self, who: &Certificate) -> Command {
        let mut command = Command::new("sftp");
        command
            .arg("-q")
            .args(self.client_options(who))
            .args(["-P", &self.port().to_string()]);
        command
    }

    pub fn remote(&self, path: &str) -> String {
        format!("{}@127.0.0.1:{path}", self.user())
    }

    /// Returns the command for a login by hand.
    pub fn ssh_line(&self, who: &Certificate) -> String {
        let command = self.ssh_command(who, self.user());
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn client_options(&self, who: &Certificate) -> Vec<String> {
        let known_hosts = self.root().join("known_hosts");
        let mut settings = vec![
            "IdentitiesOnly=yes".to_owned(),
            "IdentityAgent=none".to_owned(),
            "BatchMode=yes".to_owned(),
            "LogLevel=ERROR".to_owned(),
            "ConnectTimeout=20".to_owned(),
            "StrictHostKeyChecking=yes".to_owned(),
            "GlobalKnownHostsFile=none".to_owned(),
            format!("UserKnownHostsFile={}", known_hosts.display()),
        ];
        if let Some(certificate) = &who.certificate {
            settings.push(format!("CertificateFile={}", certificate.display()));
        }
        let mut options = vec!["-F".to_owned(), "none".to_owned()];
        options.extend(["-i".to_owned(), who.key.display().to_string()]);
        options.extend(
            settings
                .into_iter()
                .flat_map(|setting| ["-o".to_owned(), setting]),
        );
        options
    }
}
