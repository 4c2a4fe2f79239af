//! What makes bare servers a centre: roles, policies, the schema.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::postgres::{DB_ADMIN, DB_DIALLED, DB_NAME};
use super::{Centre, DATABASE};

impl Centre {
    /// Runs `deploy/vault/setup.sh`, then the migrations, as an administrator would.
    pub fn configure(&self) -> Result<()> {
        succeeds(&mut self.setup())?;
        self.migrate()
    }

    /// Returns `deploy/vault/setup.sh` with all it needs to know of this centre.
    pub fn setup(&self) -> Command {
        // The certificates that sshd of the stack is to let in name its account.
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
            // The specs of a process are one person at one address.
            .env("LOGINS_PER_PERSON", "100000")
            .env("CREDS_RATE", "1000000")
            .env("SSH_ALLOWED_USERS", accounts);
        command
    }

    /// The addresses and names of this centre, as `vctl` and `setup.sh` take them; no secrets.
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

    /// Returns the public key of the SSH authority; makes the authority where there is none.
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

fn succeeds(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run `{}`", program.display()))?;
    ensure!(
        output.status.success(),
        "`{}` ended with {}: {}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
