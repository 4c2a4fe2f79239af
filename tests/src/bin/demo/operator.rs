//! A user at a separate workstation, with a token and without a key.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use vctl_tests::centre::{Centre, Person};
use vctl_tests::lab::{Lab, Undo};

pub(crate) struct Operator {
    pub(crate) name: &'static str,
    pub(crate) account: Person,
    home: tempfile::TempDir,
    environment: Vec<(&'static str, String)>,
}

impl Operator {
    /// Creates the account in Vault and the workstation.
    pub(crate) fn new(centre: &Centre, name: &'static str, policies: &[&str]) -> Result<Self> {
        let home = tempfile::tempdir()?;
        // Ctrl-C ends the process without a drop while the demo leaves its parts running.
        centre.journal().before(Undo::RemoveTree {
            path: home.path().to_owned(),
        })?;
        Ok(Self {
            name,
            account: centre.add_person(name, policies)?,
            home,
            environment: centre.environment(),
        })
    }

    /// Runs `vctl login`, with the password from a file.
    pub(crate) fn log_in(&self, lab: &Lab) -> Result<()> {
        let mut login = self.vctl(lab, &["login", "--username", self.name, "--password-stdin"]);
        let mut child = login
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `vctl`")?;
        let mut stdin = child.stdin.take().context("vctl has no input")?;
        stdin.write_all(self.account.password.expose().as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "{} cannot log in: {said}",
            self.name
        );
        Ok(())
    }

    /// Writes the host key into `known_hosts`, as after an earlier login.
    pub(crate) fn knows(&self, lab: &Lab, host: &str) -> Result<()> {
        let known = fs::read_to_string(lab.root().join("known_hosts"))?;
        let key = known.split_once(' ').context("no host key")?.1;
        let ssh = self.home.path().join(".ssh");
        fs::create_dir(&ssh)?;
        Ok(fs::write(ssh.join("known_hosts"), format!("{host} {key}"))?)
    }

    pub(crate) fn vctl(&self, lab: &Lab, args: &[&str]) -> Command {
        let mut command = Command::new(&lab.programs.vctl);
        command
            .args(args)
            .env_remove("VAULT_TOKEN")
            .env("HOME", self.home.path())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Returns true when a private key is anywhere in the home.
    pub(crate) fn has_a_key(&self) -> Result<bool> {
        let mut dirs = vec![self.home.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    dirs.push(entry.path());
                } else if String::from_utf8_lossy(&fs::read(entry.path())?).contains("PRIVATE KEY")
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Returns the serial of that user's last access to a host, from the auditor's `vctl audit`.
pub(crate) fn serial_of(auditor: &Operator, lab: &Lab, person: &str, host: &str) -> Result<u64> {
    let user = format!("userpass-{person}");
    let args = [
        "audit", "--user", &user, "--host", host, "-n", "1", "-o", "name",
    ];
    let output = auditor.vctl(lab, &args).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`vctl audit` failed: {said}");
    let serial = String::from_utf8(output.stdout)?;
    serial
        .trim()
        .parse()
        .with_context(|| format!("no serial: {serial}"))
}
