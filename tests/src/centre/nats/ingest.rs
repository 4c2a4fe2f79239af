//! `vctl-agent ingest` beside a NATS server, with credentials of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::{Centre, DB_NAME};
use super::{INGEST, Nats};
use crate::lab::{Programs, Undo};

impl Nats {
    /// Starts `vctl-agent ingest`, with a login of its own.
    pub fn ingest(&self, centre: &Centre) -> Result<Ingest> {
        let admin = centre.bao.admin()?;
        let path = "auth/approle/role/vctl-stream-ingest";
        let role_id = admin.get(&format!("{path}/role-id"))?;
        let secret_id = admin.post(&format!("{path}/secret-id"), &serde_json::json!({}))?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let directory = tempfile::tempdir_in(&self.directory)?;
        let write = |name: &str, value: Option<String>| -> Result<PathBuf> {
            let path = directory.path().join(name);
            fs::write(&path, value.with_context(|| format!("no {name}"))?)?;
            Ok(path)
        };
        let role_id = write("role_id", text(&role_id["data"]["role_id"]))?;
        let secret_id = write("secret_id", text(&secret_id["data"]["secret_id"]))?;
        let log = directory.path().join("log");
        let output = fs::File::create(&log)?;
        let ca = centre.pki.ca();
        let agent = Programs::find()?
            .directory
            .join("vctl-agent")
            .canonicalize()?;
        centre.journal.before(Undo::EndProcess {
            program: agent.clone(),
            argument: role_id.clone(),
        })?;
        let child = Command::new(agent)
            .arg("ingest")
            .arg("--config")
            .arg(write("agent.yaml", Some(String::new()))?)
            .args(["--host", "ingest"])
            .args(["--nats-url", &self.servers.join(",")])
            .arg("--nats-key-file")
            .arg(self.key(INGEST))
            .arg("--nats-ca-cert")
            .arg(ca)
            .args(["--vault-addr", &centre.bao.address()])
            .arg("--vault-ca-cert")
            .arg(ca)
            .arg("--role-id-file")
            .arg(role_id)
            .arg("--secret-id-file")
            .arg(secret_id)
            .args(["--db-host", "127.0.0.1", "--db-server-name", DB_NAME])
            .args(["--db-port", &centre.postgres.port.to_string()])
            .arg("--db-ca-cert")
            .arg(ca)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .context("cannot start `vctl-agent ingest`")?;
        Ok(Ingest {
            child,
            log,
            _directory: directory,
        })
    }
}

/// A running `vctl-agent ingest`.
pub struct Ingest {
    child: Child,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Ingest {
    /// Kills it in the middle of its work.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Returns what it logged.
    pub fn logged(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.log)?)
    }

    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        // A process that was waited for has no pid any more.
        if let Ok(None) = self.child.try_wait() {
            let _ = kill(
                Pid::from_raw(self.child.id().cast_signed()),
                Signal::SIGTERM,
            );
            let _ = self.child.wait();
        }
    }
}
