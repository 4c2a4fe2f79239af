//! One Postgres server with TLS, passwords and its own data directory, on loopback.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use nix::unistd::User;

use super::pki::{Pki, Request, ServerCertificate, write_private};
use super::port;
use super::postgres_programs::PostgresPrograms;
use super::secret::Secret;
use super::server_process::ServerProcess;
use crate::lab::{Journal, Undo, make_directory, process};

/// Name in the server's certificate. It differs from the address that clients dial.
pub const DB_NAME: &str = "db.vctl.test";
/// Second name in the certificate, for the secrets server: its settings cannot have an address beside the name.
pub const DB_DIALLED: &str = "localhost";
/// Name of Postgres in the documentation, for specs that run the commands of the documentation.
const DB_OF_EXAMPLES: &str = "db.example.net";
/// Name of the superuser.
pub const DB_ADMIN: &str = "postgres";

/// Differences between a Postgres and the usual one.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Makes a commit survive a power cut. When a server is killed, commits survive in both cases.
    pub fsync: bool,
    pub max_connections: u32,
    /// Further settings of `postgresql.conf`.
    pub settings: Vec<(&'static str, String)>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            fsync: false,
            max_connections: 100,
            settings: Vec::new(),
        }
    }
}

/// The server. Its data and its port stay the same when it is stopped and started.
pub struct Postgres {
    pub programs: PostgresPrograms,
    directory: PathBuf,
    pub port: u16,
    pub(super) ca: PathBuf,
    pub(super) password: Secret,
    owner: Owner,
    process: ServerProcess,
}

/// Account of the server process, because Postgres refuses to run as root.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Creates a new, empty server and starts it.
    pub(super) fn create(
        journal: &Journal,
        directory: &Path,
        pki: &Pki,
        options: &PostgresOptions,
    ) -> Result<Self> {
        let programs = PostgresPrograms::find()?;
        let user = User::from_name("postgres")?.context("there is no user `postgres`")?;
        let mut postgres = Self {
            programs,
            directory: directory.to_owned(),
            port: 0,
            ca: pki.ca().to_owned(),
            password: Secret::random()?,
            owner: Owner {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            },
            process: ServerProcess::default(),
        };
        make_directory(directory, 0o700)?;
        postgres.owner.takes(directory)?;
        postgres.initdb()?;
        let request = Request {
            names: &[DB_NAME, DB_DIALLED, DB_OF_EXAMPLES],
            ..Request::default()
        };
        postgres.install(&pki.issue("postgres", request)?)?;
        // Postgres refuses connections without a matching line, so it refuses all connections without TLS.
        fs::write(
            postgres.data().join("pg_hba.conf"),
            "hostssl all all 127.0.0.1/32 scram-sha-256\n",
        )?;
        journal.before(Undo::EndPostgres {
            program: postgres.program("postgres"),
            data: postgres.data(),
        })?;
        postgres.spawn_on_a_free_port(options)?;
        let line = format!("*:*:*:{DB_ADMIN}:{}\n", postgres.password.expose());
        write_private(&postgres.password_file(), &line)?;
        Ok(postgres)
    }

    /// File with the superuser's password, in the format of `PGPASSFILE` of libpq.
    pub fn password_file(&self) -> PathBuf {
        self.directory.join("pgpass")
    }

    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The superuser's password.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// Certificate of the authority that signed the server's certificate.
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// Stops the server. Open transactions are rolled back, committed data is written.
    pub fn stop(&self) -> Result<()> {
        self.end(Signal::SIGINT)
    }

    /// Kills the server in the middle of its work.
    pub fn kill(&self) -> Result<()> {
        self.end(Signal::SIGKILL)
    }

    /// Starts the stopped server on its port, and waits until it accepts clients.
    pub fn start(&self) -> Result<()> {
        self.process.set(self.spawn()?);
        ensure!(
            self.is_ready()?,
            "Postgres does not start again: {}",
            self.last_words()
        );
        Ok(())
    }

    /// Makes the server use another certificate from the next connection on.
    pub fn use_certificate(&self, certificate: &ServerCertificate) -> Result<()> {
        self.install(certificate)?;
        self.process.signal(Signal::SIGHUP)
    }

    /// Returns the end of the server's log.
    pub fn last_words(&self) -> String {
        super::tail(&self.log())
    }

    fn initdb(&self) -> Result<()> {
        let password = self.directory.join("password");
        write_private(&password, self.password.expose())?;
        self.owner.takes(&password)?;
        let mut command = self.as_owner("initdb");
        command
            .args([
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ])
            .args(["--no-sync", "--no-instructions", "--username", DB_ADMIN])
            .arg("--pwfile")
            .arg(&password)
            .arg("--pgdata")
            .arg(self.data());
        let output = command.output().context("cannot run `initdb`")?;
        ensure!(
            output.status.success(),
            "`initdb` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(fs::remove_file(password)?)
    }

    fn install(&self, certificate: &ServerCertificate) -> Result<()> {
        for (from, name) in [
            (&certificate.certificate, "server.crt"),
            (&certificate.key, "server.key"),
        ] {
            let to = self.data().join(name);
            fs::copy(from, &to)?;
            self.owner.takes(&to)?;
        }
        Ok(())
    }

    fn spawn_on_a_free_port(&mut self, options: &PostgresOptions) -> Result<()> {
        let path = self.data().join("postgresql.conf");
        let defaults = fs::read_to_string(&path)?;
        // The port was free a moment ago, but a centre of another process may have taken it since.
        for _ in 0..5 {
            self.port = port::free()?;
            fs::write(&path, format!("{defaults}\n{}", self.settings(options)))?;
            self.process.set(self.spawn()?);
            if self.is_ready()? {
                return Ok(());
            }
        }
        bail!("Postgres does not start: {}", self.last_words())
    }

    fn settings(&self, options: &PostgresOptions) -> String {
        let on_off = |on| if on { "on" } else { "off" };
        let fsync = on_off(options.fsync);
        let mut text = format!(
            "listen_addresses = '127.0.0.1'\n\
             port = {}\n\
             unix_socket_directories = '{}'\n\
             ssl = on\n\
             ssl_cert_file = 'server.crt'\n\
             ssl_key_file = 'server.key'\n\
             password_encryption = 'scram-sha-256'\n\
             max_connections = {}\n\
             fsync = {fsync}\n\
             full_page_writes = {fsync}\n\
             dynamic_shared_memory_type = mmap\n",
            self.port,
            self.directory.display(),
            options.max_connections,
        );
        for (name, value) in &options.settings {
            let value = value.replace('\'', "''");
            text.extend([name, " = '", &value, "'\n"]);
        }
        text
    }

    fn spawn(&self) -> Result<Child> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        self.as_owner("postgres")
            .arg("-D")
            .arg(self.data())
            .stdout(log.try_clone()?)
            .stderr(log)
            // The centre handles Ctrl-C at the terminal, because it stops its parts in its own order.
            .process_group(0)
            .spawn()
            .context("cannot start `postgres`")
    }

    /// Waits until the server accepts clients. Returns false when the server ended instead.
    fn is_ready(&self) -> Result<bool> {
        let status = self.data().join("postmaster.pid");
        let pid = self.process.pid()?.to_string();
        let asked = Instant::now();
        // After a kill the server first reads its write-ahead log again, which may take long.
        while asked.elapsed() < Duration::from_mins(2) {
            // The first line may still be from the killed server.
            let text = fs::read_to_string(&status).unwrap_or_default();
            let mut lines = text.lines();
            if lines.next() == Some(&pid) && lines.next_back().map(str::trim) == Some("ready") {
                return Ok(true);
            }
            if self.process.has_ended()? {
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("Postgres does not become ready: {}", self.last_words())
    }

    fn end(&self, signal: Signal) -> Result<()> {
        self.process.end(signal)?;
        // The backends of a killed server live a little longer than it, and the next server cannot start until they end.
        let asked = Instant::now();
        loop {
            let left = process::working_in(&self.program("postgres"), &self.data())?;
            if left.is_empty() {
                return Ok(());
            }
            if asked.elapsed() > Duration::from_secs(20) {
                bail!("backends {left:?} of Postgres do not end");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns a command for a program of this Postgres, run by the account that owns the data.
    fn as_owner(&self, program: &str) -> Command {
        let mut command = Command::new(self.program(program));
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .uid(self.owner.uid)
            .gid(self.owner.gid)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        command
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.server.join(name)
    }

    fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }
}

impl Owner {
    fn takes(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("cannot give `{}` to Postgres", path.display()))
    }
}
