//! Configures bare servers as a centre: roles, policies, the schema.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::postgres::{DB_ADMIN, DB_DIALLED, DB_NAME};
use super::{Centre, DATABASE, Options};
use crate::lab::directory_of_programs;

impl Centre {
    /// Runs `deploy/vault/setup.sh`, as an administrator does.
    pub(super) fn configure(&self, options: &Options) -> Result<()> {
        follow(&mut self.setup(), options)
    }

    /// Returns the command `deploy/vault/setup.sh` with all settings of this centre. It makes its requests without the
    /// CLI where that program is built.
    pub fn setup(&self) -> Command {
        let mut command = self.setup_by_cli();
        let requests = directory_of_programs().map(|programs| programs.join("vault-requests"));
        if let Ok(requests) = requests
            && requests.exists()
        {
            command.env("VAULT_CLI", requests);
        }
        command
    }

    /// Like [`setup`](Self::setup), with the CLI that administrators use.
    pub fn setup_by_cli(&self) -> Command {
        // The sshd of the stack accepts a certificate only when it names the account of that sshd.
        let accounts = ["ubuntu", "rocky", "root", &self.account()].join(",");
        let mut command = Command::new(repository().join("deploy/vault/setup.sh"));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &self.root)
            .env("VAULT_CLI", &self.bao.binary.path)
            .env("VAULT_ADDR", self.bao.address())
            .env("VAULT_CACERT", self.pki.ca())
            .env("VAULT_TOKEN", self.bao.root_token().expose())
            .env("PG_ADMIN_USER", DB_ADMIN)
            .env("PG_ADMIN_PASS", self.postgres.password().expose())
            .env("PG_HOST", DB_DIALLED)
            .env("PG_PORT", self.postgres.port.to_string())
            .env("PG_DB", DATABASE)
            .env("PG_SSLROOTCERT", self.pki.ca())
            // All specs of a process use one person's name at one address.
            .env("LOGINS_PER_PERSON", "100000")
            .env("CONNECTIONS_PER_PERSON", "1000000")
            .env("CREDS_RATE", "1000000")
            .env("SSH_ALLOWED_USERS", accounts);
        command
    }

    /// The addresses and names of this centre, in the form that `vctl` and `setup.sh` read. Contains no secrets.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let ca = self.pki.ca().display().to_string();
        vec![
            ("VAULT_ADDR", self.bao.address()),
            ("VAULT_CACERT", ca.clone()),
            ("VCTL_VAULT_ADDR", self.bao.address()),
            ("VCTL_VAULT_CA_CERT", ca.clone()),
            ("VCTL_DB_HOST", "127.0.0.1".to_owned()),
            ("VCTL_DB_PORT", self.postgres.port.to_string()),
            ("VCTL_DB_NAME", DATABASE.to_owned()),
            ("VCTL_DB_SERVERNAME", DB_NAME.to_owned()),
            ("VCTL_DB_CA_CERT", ca),
        ]
    }

    /// Returns the public key of the SSH authority. Creates the authority when it does not exist.
    pub fn ssh_authority(&self) -> Result<String> {
        let client = self.bao.admin()?;
        let mounts = client.get("sys/mounts")?;
        if mounts["data"]["ssh/"].is_null() {
            client.post("sys/mounts/ssh", &json!({"type": "ssh"}))?;
            let generate = json!({"generate_signing_key": true, "key_type": "ed25519"});
            client.post("ssh/config/ca", &generate)?;
        }
        let key = client.get("ssh/config/ca")?;
        let key = key["data"]["public_key"].as_str();
        Ok(key.context("`ssh/config/ca` has no public key")?.to_owned())
    }
}

pub(super) fn repository() -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory
        .parent()
        .unwrap_or(crate_directory)
        .to_owned()
}

/// Runs setup.sh, and reports each kind of object before the first object of that kind.
fn follow(command: &mut Command, options: &Options) -> Result<()> {
    let program = command.get_program().to_owned();
    let mut errors = tempfile::tempfile()?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot run `{}`", program.display()))?;
    let mut reported = String::new();
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line?;
        let kind = kind(&line);
        if kind != reported && line.contains(": ") && !is_advice(&line) {
            options.begin(kind);
            kind.clone_into(&mut reported);
        }
    }
    let status = child.wait()?;
    let mut said = String::new();
    errors.rewind()?;
    errors.read_to_string(&mut said)?;
    ensure!(
        status.success(),
        "`{}` ended with {status}: {}",
        program.display(),
        said.trim()
    );
    Ok(())
}

/// Returns true when a line is for the administrator and does not name a step.
fn is_advice(line: &str) -> bool {
    line.starts_with("note: ") || line.starts_with("next: ")
}

/// Returns the part of a setup.sh line that is common to objects of one kind.
fn kind(line: &str) -> &str {
    match line.rfind('/') {
        Some(end) => &line[..end],
        None => line
            .match_indices(' ')
            .nth(1)
            .map_or(line, |(end, _)| &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn objects_of_one_kind_are_one_step() {
        for name in ["vctl-ro", "vctl-rw"] {
            let line = format!("vault: database/roles/{name}");
            assert_eq!(kind(&line), "vault: database/roles");
            assert_eq!(kind(&format!("vault: policy {name}")), "vault: policy");
        }
        assert_eq!(kind("done"), "done");
    }
}
