//! The centre of a run: OpenBao and Postgres of `cargo xtask stack`, and a desk with `vctl` that uses them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::guard::Guard;
use super::guest::Guest;
use crate::command::Built;

/// A person of the stack who may log in to hosts and read the records.
pub(crate) const PERSON: &str = "bob";

pub(crate) struct Centre {
    _stack: Guard,
    /// Variables of its administrator.
    pub(crate) exports: Vec<(String, String)>,
    /// Password of the person.
    pub(crate) password: String,
}

impl Centre {
    pub(crate) fn start(stack: &Built) -> Result<Self> {
        let program = stack.executable.display();
        let state = format!("/run/vctl-boot-{}", std::process::id());
        let end = format!("'{program}' --state {state} down");
        let guard = Guard::start("", &end, Stdio::null())?;
        let ask = |task: &str| -> Result<String> {
            let mut command = Command::new(&stack.executable);
            command.args(["--state", &state, task]);
            let output = command.stdin(Stdio::null()).output()?;
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "`stack {task}`: {errors}");
            Ok(String::from_utf8(output.stdout)?)
        };
        let shown = ask("up")?;
        let begin = format!("person: {PERSON}, password ");
        let password = shown
            .lines()
            .find_map(|line| line.trim().strip_prefix(&begin));
        let password = password.with_context(|| format!("the stack has no {PERSON}: {shown}"))?;
        let exports = ask("env")?.lines().filter_map(export).collect();
        Ok(Self {
            _stack: guard,
            exports,
            password: password.to_owned(),
        })
    }

    pub(crate) fn value(&self, name: &str) -> Result<&str> {
        let found = self.exports.iter().find(|(of, _)| of == name);
        let (_, value) = found.with_context(|| format!("the stack exports no `{name}`"))?;
        Ok(value)
    }

    /// Returns the ports of Vault and Postgres.
    pub(crate) fn ports(&self) -> Result<[u16; 2]> {
        let vault = self.value("VCTL_VAULT_ADDR")?;
        let vault = vault.rsplit(':').next().unwrap_or_default().parse()?;
        Ok([vault, self.value("VCTL_DB_PORT")?.parse()?])
    }
}

/// Reads a line `export NAME='value'`.
fn export(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
    Some((name.to_owned(), value.trim_matches('\'').to_owned()))
}

/// The workstation of the administrator, and after a login that of a person.
pub(crate) struct Desk<'a> {
    centre: &'a Centre,
    /// Home and working directory.
    home: PathBuf,
    path: String,
    pub(crate) is_administrator: bool,
}

impl<'a> Desk<'a> {
    /// Lays out a desk whose `ssh` and `scp` reach the guest.
    pub(crate) fn new(
        centre: &'a Centre,
        guest: &Guest,
        programs: &Path,
        work: &Path,
    ) -> Result<Self> {
        let home = work.join("desk");
        let tools = home.join("bin");
        fs::create_dir_all(&tools)?;
        fs::create_dir_all(home.join(".ssh"))?;
        fs::copy(work.join("known_hosts"), home.join(".ssh/known_hosts"))?;
        for tool in ["ssh", "scp"] {
            let script = format!(
                "#!/bin/sh\nexec /usr/bin/{tool} -F '{}' \"$@\"\n",
                guest.ssh_config.display()
            );
            let path = tools.join(tool);
            fs::write(&path, script)?;
            fs::set_permissions(path, Permissions::from_mode(0o755))?;
        }
        let path = format!(
            "{}:{}:/usr/sbin:/usr/bin:/sbin:/bin",
            tools.display(),
            programs.display()
        );
        Ok(Self {
            centre,
            home,
            path,
            is_administrator: true,
        })
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// Returns a shell that runs this line at the desk.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(&self.home).env_clear();
        shell.env("HOME", &self.home).env("PATH", &self.path);
        let exports = self.centre.exports.iter();
        shell.envs(exports.map(|(name, value)| (name, value)));
        if !self.is_administrator {
            shell.env_remove("VAULT_TOKEN");
        }
        shell.stdin(Stdio::null());
        shell
    }

    /// Runs a line at the desk, and returns its output.
    pub(crate) fn run(&self, line: &str) -> Result<String> {
        let output = self.shell(line).output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "`{line}` ended with {}: {printed}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(printed)
    }
}
