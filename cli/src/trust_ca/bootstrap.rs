//! Running the script on a host, through the operator's own `ssh`.
//!
//! That `ssh` has the operator's keys, agent, configuration and `known_hosts`; vctl's certificates are of no use on a
//! host that does not trust the CA yet. The script is sent through standard input, so no shell on the way parses it.
//! Only if sudo asks for a password is it first copied, and then run on a terminal.

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::ScriptReport;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::openssh::without_include::ConfigWithoutInclude;
use crate::ui::ask::Interaction;
use crate::ui::notice;

/// The host to log in to, and how.
#[derive(Debug)]
pub(crate) struct BootstrapTarget {
    /// The operator's configuration without vctl's part, if it has one.
    pub(crate) config_without_include: Option<ConfigWithoutInclude>,
    /// The name, which may occur in the operator's configuration.
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    pub(crate) user: String,
    /// Outermost first.
    pub(crate) jumps: Vec<(String, SocketAddr)>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) sudo: bool,
}

/// Output and exit status of a program.
pub(crate) struct ProgramOutput {
    pub(crate) output: Vec<u8>,
    /// Empty unless the caller captures stderr.
    pub(crate) errors: Vec<u8>,
    /// Exit status; 255 also if a signal ended the program.
    pub(crate) code: i32,
}

/// Runs `script` on the host as root. Returns its report and exit status.
///
/// # Errors
/// `Transport` if ssh cannot log in, `Permission` if sudo asks for a password and prompts are not allowed.
pub(crate) async fn run(
    to: &mut BootstrapTarget,
    script: &str,
    interaction: Interaction,
) -> Result<(ScriptReport, i32), CliError> {
    let shell = if to.sudo { "sudo -n sh -s" } else { "sh -s" };
    let ended = to.run_command(interaction, shell, script).await?;
    let report = ScriptReport::read(&ended.output);
    if ended.code == 255 && report.is_empty() {
        return Err(login_failed(to));
    }
    if to.sudo && report.is_empty() {
        return run_on_terminal(to, script, interaction).await;
    }
    Ok((report, ended.code))
}

/// Runs a command on the host as the login user, and returns its output.
///
/// # Errors
/// `Transport` if ssh cannot log in or the command fails.
pub(crate) async fn ask(
    to: &mut BootstrapTarget,
    remote: &str,
    interaction: Interaction,
) -> Result<String, CliError> {
    let ended = to.run_command(interaction, remote, "").await?;
    if ended.code != 0 {
        return Err(login_failed(to));
    }
    Ok(String::from_utf8_lossy(&ended.output).into_owned())
}

/// Copies the script to a directory that belongs to the account, and runs it on a terminal, where sudo can prompt.
async fn run_on_terminal(
    to: &BootstrapTarget,
    script: &str,
    interaction: Interaction,
) -> Result<(ScriptReport, i32), CliError> {
    if let Some(reason) = interaction.refusal() {
        let message = format!(
            "sudo on `{}` asks for the password of `{}`, and {reason}",
            to.name, to.user
        );
        let hint = "run it on a terminal, or log in as root: `--user root` without `--sudo`";
        return Err(CliError::new(Exit::Permission, message).hint(hint));
    }
    notice::note(&format!("sudo on `{}` may ask for a password", to.name));
    // In single quotes and without a single quote inside: every shell parses it alike.
    let bring = r#"sh -c 'umask 077; d=$(mktemp -d) && cat >"$d/script" && echo "vctl:at $d"'"#;
    let ended = to.ssh(interaction, false, bring);
    let ended = run_with_input(ended, script)
        .await
        .map_err(|error| no_ssh(&error))?;
    let text = String::from_utf8_lossy(&ended.output);
    let directory = text.lines().find_map(|line| line.strip_prefix("vctl:at "));
    let Some(directory) = directory.map(str::trim).filter(|path| is_shell_safe(path)) else {
        return Err(login_failed(to));
    };
    let run = format!("sh -c 'sudo sh {directory}/script >{directory}/said'");
    let mut command = to.ssh(interaction, true, &run);
    let status = command.status().await.map_err(|error| no_ssh(&error))?;
    let fetch = format!("sh -c 'cat {directory}/said; rm -rf {directory}'");
    let said = to.ssh(interaction, false, &fetch);
    let said = run_with_input(said, "")
        .await
        .map_err(|error| no_ssh(&error))?;
    let report = ScriptReport::read(&said.output);
    if report.is_empty() {
        let message = format!(
            "sudo on `{}` does not allow `{}` to run the script as root",
            to.name, to.user
        );
        return Err(CliError::new(Exit::Permission, message)
            .hint("log in as root instead: `--user root` without `--sudo`"));
    }
    Ok((report, status.code().unwrap_or(255)))
}

/// Returns whether a path that a host printed has no character that is special to a shell.
fn is_shell_safe(path: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    path.starts_with('/') && path.len() < 200 && path.bytes().all(is_letter)
}

impl BootstrapTarget {
    /// Runs a command on the host. If the login fails, tries once more with the operator's whole configuration: vctl's
    /// part of it works if the host trusts the CA already.
    async fn run_command(
        &mut self,
        interaction: Interaction,
        remote: &str,
        input: &str,
    ) -> Result<ProgramOutput, CliError> {
        let ended = run_with_input(self.ssh(interaction, false, remote), input).await;
        let ended = ended.map_err(|error| no_ssh(&error))?;
        if ended.code != 255
            || !ended.output.is_empty()
            || self.config_without_include.take().is_none()
        {
            return Ok(ended);
        }
        notice::note("trying again through vctl, as configured by `vctl ssh-config`");
        let ended = run_with_input(self.ssh(interaction, false, remote), input).await;
        ended.map_err(|error| no_ssh(&error))
    }

    fn ssh(&self, interaction: Interaction, terminal: bool, remote: &str) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(self.arguments(interaction, terminal))
            .arg(remote);
        command
    }

    /// Returns all arguments except the remote command.
    fn arguments(&self, interaction: Interaction, terminal: bool) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        if let Some(config_without_include) = &self.config_without_include {
            arguments.extend(["-F".into(), config_without_include.path().into()]);
        }
        let mut option = |text: &str| arguments.extend(["-o".into(), text.into()]);
        // Options for interactive work do not apply to this single command.
        option("ClearAllForwardings=yes");
        option("ForwardAgent=no");
        option("PermitLocalCommand=no");
        option("RemoteCommand=none");
        option(if terminal {
            "RequestTTY=force"
        } else {
            "RequestTTY=no"
        });
        option("ConnectTimeout=15");
        if interaction != Interaction::Allowed {
            option("BatchMode=yes");
        }
        if self.key.is_some() {
            option("IdentitiesOnly=yes");
        }
        let ip = self.addr.ip().to_string();
        if self.name != ip {
            option(&format!("HostName={ip}"));
        }
        if let Some(key) = &self.key {
            arguments.extend(["-i".into(), key.into()]);
        }
        if !self.jumps.is_empty() {
            let jumps = self.jumps.iter();
            let jumps = jumps.map(|(user, addr)| format!("{user}@{addr}"));
            let jumps: Vec<String> = jumps.collect();
            arguments.extend(["-J".into(), jumps.join(",").into()]);
        }
        let port = self.addr.port().to_string();
        let rest = ["-p", &port, "-l", &self.user, "--", &self.name];
        arguments.extend(rest.map(OsString::from));
        arguments
    }
}

/// Runs a program with `input` and reads its output to the end. Its stderr goes to the operator, unless the caller
/// redirects it.
pub(crate) async fn run_with_input(mut command: Command, input: &str) -> io::Result<ProgramOutput> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // The program may end without reading; its exit status has the reason.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output?;
    Ok(ProgramOutput {
        code: output.status.code().unwrap_or(255),
        output: output.stdout,
        errors: output.stderr,
    })
}

fn login_failed(to: &BootstrapTarget) -> CliError {
    let message = format!(
        "ssh cannot log in to `{}` as `{}` at {}",
        to.name, to.user, to.addr
    );
    let hint = format!(
        "see the message of ssh above; until the host trusts the CA, ssh needs a key that `{}` has there: `-i KEY`",
        to.user
    );
    CliError::new(Exit::Transport, message).hint(hint)
}

fn no_ssh(error: &io::Error) -> CliError {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        _ => Exit::Failure,
    };
    CliError::new(exit, "cannot run `ssh`")
        .caused_by(error)
        .hint("`ssh` is needed to log in to the host: install the OpenSSH client")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operator_ssh_uses_inventory_address_under_the_hosts_name() {
        let to = BootstrapTarget {
            config_without_include: None,
            name: "web-1".to_owned(),
            addr: "[fd00::7]:2222".parse().unwrap(),
            user: "ubuntu".to_owned(),
            jumps: vec![("root".to_owned(), "10.0.0.1:22".parse().unwrap())],
            key: Some("/keys/a key".into()),
            sudo: true,
        };
        let words = to.arguments(Interaction::Never, false);
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let text = words.join(" ");
        assert!(text.contains("-o BatchMode=yes -o IdentitiesOnly=yes -o HostName=fd00::7 -i /keys/a key -J root@10.0.0.1:22 -p 2222 -l ubuntu -- web-1"), "{text}");
        assert!(
            !to.arguments(Interaction::Allowed, true)
                .contains(&"BatchMode=yes".into())
        );
    }

    #[test]
    fn path_from_a_host_cannot_be_a_command() {
        assert!(is_shell_safe("/tmp/tmp.X_y-1"));
        for path in ["", "tmp", "/tmp/a b", "/tmp/$(id)", "/tmp/a;b", "/tmp/'"] {
            assert!(!is_shell_safe(path), "{path}");
        }
    }
}
