//! One OpenBao or Vault server with TLS, raft storage and an audit file, on loopback.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::json;

use super::api::Client;
use super::binary::Binary;
use super::pki::{Pki, Request, ServerCertificate};
use super::port;
use super::secret::Secret;
use super::server_process::ServerProcess;
use crate::lab::{Journal, Undo, make_directory};

/// Names in the server's certificate, beside `127.0.0.1`.
pub const VAULT_NAME: &str = "vault.vctl.test";

/// The server. Its data and its port stay the same when it is stopped and started.
pub struct Bao {
    pub binary: Binary,
    directory: PathBuf,
    pub port: u16,
    ca: PathBuf,
    unseal_key: Secret,
    root_token: Secret,
    process: ServerProcess,
}

impl Bao {
    /// Starts a new server, initialised with one key and unsealed.
    pub(super) fn create(journal: &Journal, directory: &Path, pki: &Pki) -> Result<Self> {
        let binary = Binary::find()?;
        make_directory(directory, 0o700)?;
        make_directory(&directory.join("data"), 0o700)?;
        let names = [VAULT_NAME, "localhost", "127.0.0.1"];
        let certificate = pki.issue(
            "vault",
            Request {
                names: &names,
                ..Request::default()
            },
        )?;
        journal.before(Undo::EndProcess {
            program: binary.path.clone(),
            argument: directory.join("config.hcl"),
        })?;
        let mut bao = Self {
            binary,
            directory: directory.to_owned(),
            port: 0,
            ca: pki.ca().to_owned(),
            unseal_key: Secret::new(""),
            root_token: Secret::new(""),
            process: ServerProcess::default(),
        };
        bao.install(&certificate)?;
        bao.spawn_on_a_free_port()?;
        bao.initialise()?;
        Ok(bao)
    }

    /// Returns a client with the root token.
    pub fn admin(&self) -> Result<Client> {
        Client::new(
            self.port,
            "localhost",
            &self.ca,
            Some(self.root_token.clone()),
        )
    }

    /// Returns a client without a token.
    pub fn anonymous(&self) -> Result<Client> {
        Client::new(self.port, "localhost", &self.ca, None)
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub fn root_token(&self) -> &Secret {
        &self.root_token
    }

    pub fn unseal_key(&self) -> &Secret {
        &self.unseal_key
    }

    /// The file into which the server writes every request and answer.
    pub fn audit_log(&self) -> PathBuf {
        self.directory.join("audit.log")
    }

    /// Returns the command `bao` or `vault`, set up to reach this server as root.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary.path);
        command
            .env("VAULT_ADDR", self.address())
            .env("VAULT_CACERT", &self.ca)
            .env("VAULT_TOKEN", self.root_token.expose())
            .stdin(Stdio::null());
        command
    }

    /// Stops the server with SIGTERM, as systemd does.
    pub fn stop(&self) -> Result<()> {
        self.process.end(Signal::SIGTERM)
    }

    /// Kills the server in the middle of its work.
    pub fn kill(&self) -> Result<()> {
        self.process.end(Signal::SIGKILL)
    }

    /// Starts the stopped server on its port and unseals it.
    pub fn start(&self) -> Result<()> {
        self.process.set(self.spawn()?);
        if !self.answers()? {
            bail!("the server does not start again: {}", self.last_words());
        }
        self.unseal()
    }

    /// Makes the server hang: it accepts connections, and does not answer.
    pub fn pause(&self) -> Result<()> {
        self.process.signal(Signal::SIGSTOP)
    }

    pub fn go_on(&self) -> Result<()> {
        self.process.signal(Signal::SIGCONT)
    }

    pub fn seal(&self) -> Result<()> {
        self.admin()?.post("sys/seal", &json!({}))?;
        Ok(())
    }

    /// Unseals the server and waits until it serves. Changes nothing on a server that already serves.
    pub fn unseal(&self) -> Result<()> {
        let client = self.anonymous()?;
        client.post("sys/unseal", &json!({"key": self.unseal_key.expose()}))?;
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(20) {
            // Status 200: the server is unsealed and is the leader.
            if client.call("GET", "sys/health", None)?.status == 200 {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the server does not unseal: {}", self.last_words())
    }

    /// Makes the server use another certificate from now on.
    pub fn use_certificate(&self, certificate: &ServerCertificate) -> Result<()> {
        self.install(certificate)?;
        self.process.signal(Signal::SIGHUP)
    }

    fn install(&self, certificate: &ServerCertificate) -> Result<()> {
        fs::copy(&certificate.certificate, self.directory.join("tls.pem"))?;
        fs::copy(&certificate.key, self.directory.join("tls.key"))?;
        Ok(())
    }

    fn spawn_on_a_free_port(&mut self) -> Result<()> {
        // The port was free a moment ago, but a centre of another process may have taken it since.
        for _ in 0..5 {
            self.port = port::free()?;
            let cluster = port::free()?;
            fs::write(
                self.directory.join("config.hcl"),
                self.configuration(cluster),
            )?;
            self.process.set(self.spawn()?);
            if self.answers()? {
                return Ok(());
            }
        }
        bail!("the server does not start: {}", self.last_words())
    }

    fn initialise(&mut self) -> Result<()> {
        let shares = json!({"secret_shares": 1, "secret_threshold": 1});
        let made = self.anonymous()?.post("sys/init", &shares)?;
        let text = |value: &serde_json::Value| value.as_str().map(Secret::new);
        self.unseal_key = text(&made["keys_base64"][0]).context("`sys/init` gave no key")?;
        self.root_token = text(&made["root_token"]).context("`sys/init` gave no root token")?;
        self.unseal()?;
        if !self.binary.is_openbao {
            // OpenBao takes audit devices from its configuration only, Vault takes them by request only.
            let device = json!({"type": "file", "options": {"file_path": self.audit_log()}});
            self.admin()?.post("sys/audit/file", &device)?;
        }
        Ok(())
    }

    fn spawn(&self) -> Result<Child> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        Command::new(&self.binary.path)
            .arg("server")
            .arg("-config")
            .arg(self.directory.join("config.hcl"))
            // The server gets no environment of the caller: no proxy and no address of another server.
            .env_clear()
            .env("HOME", &self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // The centre handles Ctrl-C at the terminal, because it stops its parts in its own order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{}`", self.binary.path.display()))
    }

    /// Waits until the server answers. Returns false when the server ended instead.
    ///
    /// A server that answers with a certificate of our own authority is our server.
    fn answers(&self) -> Result<bool> {
        let client = self.anonymous()?;
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(20) {
            if client.call("GET", "sys/health", None).is_ok() {
                return Ok(true);
            }
            if self.process.has_ended()? {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("the server does not answer: {}", self.last_words())
    }

    fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// Returns the end of what the server logged.
    pub fn last_words(&self) -> String {
        super::tail(&self.log())
    }

    fn configuration(&self, cluster_port: u16) -> String {
        let directory = self.directory.display();
        let port = self.port;
        let audit = if self.binary.is_openbao {
            let path = self.audit_log();
            format!(
                "audit \"file\" \"file\" {{\n  options {{ file_path = \"{}\" }}\n}}\n",
                path.display()
            )
        } else {
            // Vault's raft storage does not start without a value for this.
            "disable_mlock = true\n".to_owned()
        };
        // A spec changes the storage with `sys/raw`, as a crash may.
        // The cluster has one member. With the default multiplier this member waits many seconds for its own election.
        format!(
            "ui = true\n\
             raw_storage_endpoint = true\n\
             api_addr = \"https://127.0.0.1:{port}\"\n\
             cluster_addr = \"https://127.0.0.1:{cluster_port}\"\n\
             storage \"raft\" {{\n  path = \"{directory}/data\"\n  node_id = \"one\"\n  \
             performance_multiplier = 1\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  \
             cluster_address = \"127.0.0.1:{cluster_port}\"\n  \
             tls_cert_file = \"{directory}/tls.pem\"\n  \
             tls_key_file = \"{directory}/tls.key\"\n}}\n\
             {audit}"
        )
    }
}
