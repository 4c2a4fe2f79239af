//! A NATS server with the configuration of deploy/nats, the accounts of some hosts, and consumers.

mod ingest;
mod raw;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_nats::jetstream;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vctl_agent::nats::{self, Nats as Address};
use vctl_agent::store::{JetStream, Route};
use vctl_common::tls::Trust;

use super::configure::repository;
use super::download::NATS;
use super::{Centre, Request, binary, port};
use crate::lab::{Programs, Undo, make_directory, start_or_skip};

pub use ingest::Ingest;

/// Differences between a server and the usual one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NatsOptions<'a> {
    /// Hosts with an account.
    pub hosts: &'a [&'a str],
    /// This server's number in a cluster, and the ports for the routes of all members.
    pub cluster: Option<(usize, &'a [u16])>,
}

/// A server, and the keys of its users.
pub struct Nats {
    directory: PathBuf,
    /// Directory of the users' keys; that of the first server in a cluster.
    keys: PathBuf,
    ca: PathBuf,
    pub port: u16,
    /// This server, or all of its cluster.
    servers: Vec<String>,
    child: Mutex<Option<Child>>,
}

/// The operator: `nats-accounts --operator`.
const OPERATOR: &str = "operator";
const INGEST: &str = "ingest";

impl Nats {
    /// Starts a server below the centre's directory.
    pub fn start(centre: &Centre, name: &str, options: NatsOptions<'_>) -> Result<Self> {
        let directory = centre.root.join(format!("nats-{name}"));
        make_directory(&directory, 0o700)?;
        centre.journal.before(Undo::EndProcess {
            program: program()?,
            argument: directory.join("nats-server.conf"),
        })?;
        let certificate = centre.pki.issue(
            &format!("nats-{name}"),
            Request {
                names: &["localhost", "127.0.0.1"],
                ..Request::default()
            },
        )?;
        fs::copy(&certificate.certificate, directory.join("tls.pem"))?;
        fs::copy(&certificate.key, directory.join("tls.key"))?;
        let mut nats = Self {
            ca: centre.pki.ca().to_owned(),
            port: 0,
            servers: Vec::new(),
            child: Mutex::new(None),
            keys: centre.root.join(match options.cluster {
                Some(_) => "nats-keys".to_owned(),
                None => format!("nats-{name}"),
            }),
            directory,
        };
        if !nats.keys.exists() {
            make_directory(&nats.keys, 0o700)?;
        }
        nats.write_accounts(options.hosts)?;
        // The port was free a moment ago, but a server of another process may have taken it since.
        for _ in 0..5 {
            nats.port = port::free()?;
            nats.servers = vec![format!("tls://127.0.0.1:{}", nats.port)];
            nats.write_configuration(options)?;
            if nats.spawn()? {
                return Ok(nats);
            }
        }
        bail!("the NATS server does not start: {}", nats.last_words())
    }

    /// Starts a cluster of three servers.
    pub fn cluster(centre: &Centre, hosts: &[&str]) -> Result<Vec<Self>> {
        let ports = [port::free()?, port::free()?, port::free()?];
        let mut all = Vec::new();
        for number in 0..ports.len() {
            let options = NatsOptions {
                hosts,
                cluster: Some((number, &ports)),
            };
            all.push(Self::start(centre, &format!("member-{number}"), options)?);
        }
        let servers: Vec<_> = all.iter().flat_map(|nats| nats.servers.clone()).collect();
        for nats in &mut all {
            nats.servers.clone_from(&servers);
        }
        Ok(all)
    }

    /// Does the same as `start`. Prints the reason and returns `None` when this machine has no server.
    ///
    /// # Panics
    /// When this machine has a server and it does not start.
    pub fn or_skip(centre: &Centre, name: &str, options: NatsOptions<'_>) -> Option<Self> {
        start_or_skip(missing(), || Self::start(centre, name, options))
    }

    /// Returns the route of a host's agent.
    pub fn route(&self, host: &str) -> Route {
        Route::JetStream(Box::new(JetStream {
            nats: self.address(host),
            centre: None,
        }))
    }

    /// Returns the address, with the key of a user.
    pub fn address(&self, user: &str) -> Address {
        Address {
            servers: self.servers.clone(),
            key_file: self.key(user),
            trust: Trust::File(self.ca.clone()),
            name: user.to_owned(),
        }
    }

    fn key(&self, user: &str) -> PathBuf {
        self.keys.join(format!("{user}.key"))
    }

    /// Calls `work` with JetStream as a user that may do everything with the stream.
    pub fn operate<T, F: Future<Output = Result<T>>>(
        &self,
        work: impl FnOnce(jetstream::Context) -> F,
    ) -> Result<T> {
        self.as_user(OPERATOR, |client| work(jetstream::new(client)))
    }

    /// Calls `work` with a connection of a user.
    pub fn as_user<T, F: Future<Output = Result<T>>>(
        &self,
        user: &str,
        work: impl FnOnce(async_nats::Client) -> F,
    ) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async { work(nats::connect(&self.address(user)).await?).await })
    }

    /// Removes all messages of the stream.
    pub fn purge(&self) -> Result<()> {
        self.operate(async |context| {
            context.get_stream(nats::STREAM).await?.purge().await?;
            Ok(())
        })
    }

    /// Returns the number of messages in the stream.
    pub fn messages(&self) -> Result<u64> {
        self.operate(async |context| {
            let mut stream = context.get_stream(nats::STREAM).await?;
            Ok(stream.info().await?.state.messages)
        })
    }

    /// Creates the stream with these limits, and the consumer, which gives a message to another reader after a second.
    pub fn create_stream(&self, max_bytes: i64, replicas: usize) -> Result<()> {
        use jetstream::consumer::pull;
        use jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
        self.operate(async |context| {
            let stream = context
                .create_stream(Config {
                    name: nats::STREAM.to_owned(),
                    subjects: vec![format!("{}.>", nats::SUBJECT)],
                    retention: RetentionPolicy::WorkQueue,
                    discard: DiscardPolicy::New,
                    max_bytes,
                    num_replicas: replicas,
                    ..Config::default()
                })
                .await?;
            stream
                .create_consumer(pull::Config {
                    durable_name: Some(nats::CONSUMER.to_owned()),
                    ack_wait: Duration::from_secs(1),
                    max_ack_pending: 100_000,
                    ..pull::Config::default()
                })
                .await?;
            Ok(())
        })
    }

    /// Kills the server in the middle of its work.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut child) = child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Starts the killed server again, with its files and its port.
    pub fn start_again(&self) -> Result<()> {
        if !self.spawn()? {
            bail!(
                "the NATS server does not start again: {}",
                self.last_words()
            );
        }
        Ok(())
    }

    /// Makes the server hang: it accepts connections, and does not answer.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn write_accounts(&self, hosts: &[&str]) -> Result<()> {
        let mut list = String::new();
        for host in hosts {
            let key = nats::public_key_or_new(&self.key(host))?;
            list.extend([*host, " ", key.as_str(), "\n"]);
        }
        let ingest = nats::public_key_or_new(&self.key(INGEST))?;
        let operator = nats::public_key_or_new(&self.key(OPERATOR))?;
        fs::write(self.directory.join("hosts"), list)?;
        let written = Command::new(Programs::find()?.directory.join("vctl-agent"))
            .args([
                "nats-accounts",
                "--ingest",
                &ingest,
                "--operator",
                &operator,
            ])
            .arg("--no-hosts")
            .arg(self.directory.join("hosts"))
            .arg("--out")
            .arg(self.directory.join("accounts.conf"))
            .output()?;
        let said = String::from_utf8_lossy(&written.stderr);
        ensure!(written.status.success(), "`nats-accounts` failed: {said}");
        Ok(())
    }

    fn write_configuration(&self, options: NatsOptions<'_>) -> Result<()> {
        let stock = fs::read_to_string(repository().join("deploy/nats/nats-server.conf"))?;
        let directory = self.directory.display();
        let mut text = stock
            .replace("0.0.0.0:4222", &format!("127.0.0.1:{}", self.port))
            .replace("/etc/nats", &directory.to_string())
            .replace("/var/lib/nats", &format!("{directory}/store"));
        if let Some((number, ports)) = options.cluster {
            let own = ports[number];
            let routes: Vec<_> = ports
                .iter()
                .map(|port| format!("nats://127.0.0.1:{port}"))
                .collect();
            text = text.replace("nats-1", &format!("nats-{}", number + 1));
            let routes = routes.join(", ");
            let block = format!(
                "cluster {{ name: vctl, listen: \"127.0.0.1:{own}\", routes: [{routes}] }}\n"
            );
            text.push_str(&block);
        }
        Ok(fs::write(self.configuration(), text)?)
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("nats-server.conf")
    }

    /// Starts the server. Returns false if it ended before it accepted connections.
    fn spawn(&self) -> Result<bool> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())?;
        let child = Command::new(program()?)
            .arg("--config")
            .arg(self.configuration())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("cannot start `nats-server`")?;
        let mut held = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let child = held.insert(child);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(20) {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(true);
            }
            if child.try_wait()?.is_some() {
                *held = None;
                return Ok(false);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the NATS server does not answer: {}", self.last_words())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let child = child.as_ref().context("the NATS server is stopped")?;
        Ok(kill(Pid::from_raw(child.id().cast_signed()), signal)?)
    }

    fn log(&self) -> PathBuf {
        self.directory.join("server.log")
    }

    /// Returns the end of what the server logged.
    pub fn last_words(&self) -> String {
        super::tail(&self.log())
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(child) = child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Returns the program on PATH, or the pinned one.
fn program() -> Result<PathBuf> {
    let path = match binary::on_path("nats-server") {
        Some(path) => path,
        None => NATS.get()?,
    };
    // The name in /proc. The cleanup finds the process by this name.
    Ok(path.canonicalize()?)
}

/// Returns the reason when a server is neither installed nor can be fetched.
fn missing() -> Option<String> {
    match binary::on_path("nats-server") {
        Some(_) => None,
        None => NATS.missing(),
    }
}
