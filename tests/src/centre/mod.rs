//! A centre on loopback: a real OpenBao or Vault, a real Postgres, and an sshd that trusts the SSH
//! authority, all with throw-away secrets and certificates.
//!
//! ```no_run
//! # use vctl_tests::centre::{Centre, Options};
//! let centre = Centre::start(&Options::default())?;
//! centre.postgres.create_database("mine")?;
//! assert_eq!(centre.postgres.psql("mine", "select 1")?, "1");
//! let mounts = centre.bao.admin()?.get("sys/mounts")?;
//! # anyhow::Ok(())
//! ```
//!
//! A centre needs some seconds to start, so the specs of one process share one ([`Centre::shared`]) and
//! create a database each. Its changes on the machine are undone when it is dropped and on Ctrl-C. When its
//! owner is killed, a separate process undoes them.
mod api;
mod bao;
mod binary;
mod configure;
mod connection;
mod download;
mod guard;
mod far;
mod host;
mod identity;
mod island;
mod machine;
mod nats;
mod pki;
mod port;
mod postgres;
mod postgres_programs;
mod psql;
mod schema;
mod secret;
mod server_process;
mod trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::Result;

pub use api::{Client, Reply};
pub use bao::{Bao, VAULT_NAME};
pub use binary::Binary;
pub(crate) use download::cache;
pub use download::duckdb;
pub use far::{FarCrossings, FarServers};
pub use host::Host;
pub use identity::{Credential, HostIdentity};
pub use island::Island;
pub use machine::{Machine, PASSWORD};
pub use nats::{Ingest, Nats, NatsOptions};
pub use pki::{Pki, Request, ServerCertificate};
pub use port::free as free_port;
pub use postgres::{DB_ADMIN, DB_DIALLED, DB_NAME, Postgres, PostgresOptions};
pub use postgres_programs::PostgresPrograms;
pub use psql::Login;
pub use secret::Secret;
pub use trial::{Person, Trial, first_steps, shell_word};

use crate::lab::{Journal, Undo, installed, make_directory, report, say, start_or_skip};

/// Name of the database that all parts are configured for.
pub const DATABASE: &str = "vctl";

/// Differences between a centre and the usual one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub postgres: PostgresOptions,
    /// Skips roles, policies and migrations: only the bare servers run.
    pub bare: bool,
    /// Starts an sshd that trusts the SSH authority, with an account to log in to.
    pub host: bool,
    /// Called with the name of each step before the step begins.
    pub progress: Option<fn(&str)>,
}

impl Options {
    fn begin(&self, step: &str) {
        if let Some(progress) = self.progress {
            progress(step);
        }
    }
}

/// The servers. Fields are dropped in this order, after all changes were undone.
pub struct Centre {
    id: String,
    root: PathBuf,
    pub pki: Pki,
    pub bao: Bao,
    pub postgres: Postgres,
    pub host: Option<Host>,
    journal: Arc<Journal>,
    _guard: guard::Guard,
}

impl Centre {
    /// Starts a centre. When a step fails, the finished steps are undone.
    pub fn start(options: &Options) -> Result<Self> {
        let id = new_id();
        let journal = Journal::open(&id)?;
        Self::start_with(id, &journal, options)
    }

    /// Does the same as `start`, with a journal that already has changes of the caller.
    pub fn start_with(id: String, journal: &Arc<Journal>, options: &Options) -> Result<Self> {
        Self::build(id, journal, options).inspect_err(|_| report(journal))
    }

    /// Returns the centre that all specs of this process share, or prints the reason when there is none.
    ///
    /// The centre ends with the process. A spec must not stop its servers or change their certificates.
    ///
    /// # Panics
    /// When this machine can run a centre and it does not start.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Centre>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::or_skip(&Options::default()));
        shared.as_ref()
    }

    /// Starts a separate centre. Prints the reason and returns `None` when this machine cannot run one.
    ///
    /// # Panics
    /// When this machine can run a centre and it does not start.
    pub fn or_skip(options: &Options) -> Option<Self> {
        start_or_skip(missing(), || Self::start(options))
    }

    fn build(id: String, journal: &Arc<Journal>, options: &Options) -> Result<Self> {
        let root = Path::new("/run").join(&id);
        let guard = guard::Guard::start(journal)?;
        journal.before(Undo::RemoveTree { path: root.clone() })?;
        // Other accounts may pass this directory but not list it: Postgres and the users' `vctl` need files below it.
        make_directory(&root, 0o711)?;
        options.begin("starting OpenBao (or Vault) and Postgres");
        let pki = Pki::create(&root.join("pki"))?;
        let (bao, postgres) = std::thread::scope(|scope| {
            let bao = scope.spawn(|| Bao::create(journal, &root.join("bao"), &pki));
            let postgres =
                Postgres::create(journal, &root.join("postgres"), &pki, &options.postgres);
            let bao = bao
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))?;
            anyhow::Ok((bao?, postgres?))
        })?;
        let mut centre = Self {
            id,
            root,
            pki,
            bao,
            postgres,
            host: None,
            journal: Arc::clone(journal),
            _guard: guard,
        };
        if options.bare {
            centre.postgres.create_database(DATABASE)?;
        } else {
            options.begin("making roles, policies and the SSH CA with deploy/vault/setup.sh");
            centre.configure(options)?;
            options.begin("applying the migrations");
            centre.migrate()?;
        }
        if options.host {
            options.begin("starting an sshd that trusts the SSH CA");
            let trusted = centre.ssh_authority()?;
            let root = centre.root.join("host");
            let host = Host::start(journal, &centre.id, &centre.account(), &root, &trusted)?;
            centre.host = Some(host);
        }
        Ok(centre)
    }

    /// Starts one more host, for the account of the first.
    pub fn another_host(&self, name: &str) -> Result<Host> {
        self.start_another(name)?()
    }

    /// Does the same as `another_host`, in the network of an island.
    pub fn another_host_on(&self, island: &Island, name: &str) -> Result<Host> {
        // The centre is asked before the host enters the island, because it is not reachable from there.
        island.within(self.start_another(name)?)?
    }

    /// Starts a host with its own `/etc/ssh`, for the account of the first host. Its sshd trusts no authority yet.
    pub fn machine(&self, name: &str) -> Result<Machine> {
        let id = format!("{}-{name}", self.id);
        let root = self.root.join(&id);
        make_directory(&root, 0o711)?;
        Machine::start(&self.journal, &id, &self.account(), &root)
    }

    fn start_another(&self, name: &str) -> Result<impl FnOnce() -> Result<Host> + Send + 'static> {
        let trusted = self.ssh_authority()?;
        let id = format!("{}-{name}", self.id);
        let root = self.root.join(&id);
        let (journal, account) = (Arc::clone(&self.journal), self.account());
        make_directory(&root, 0o711)?;
        Ok(move || Host::with_account(&journal, &id, &account, &root, &trusted))
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Account of the host. It exists also when there is no host.
    fn account(&self) -> String {
        format!("{}-u", self.id)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Ends the centre now and returns the changes that could not be undone.
    pub fn end(self) -> Vec<anyhow::Error> {
        self.journal.undo()
    }
}

impl Drop for Centre {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say(&format!(
                "{} failed; the secrets server said:\n{}\nPostgres said:\n{}",
                self.id,
                self.bao.last_words(),
                self.postgres.last_words()
            ));
        }
        report(&self.journal);
    }
}

/// Returns the reason when this machine cannot run a centre.
pub fn missing() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("this needs root; `cargo xtask` gets it with sudo".to_owned());
    }
    let tools = ["ssh", "ssh-keygen", "sshd", "useradd", "userdel", "ipcrm"];
    if let Some(tool) = tools.iter().find(|tool| !installed(tool)) {
        return Some(format!("`{tool}` is not installed"));
    }
    if let Err(error) = PostgresPrograms::find().and(guard::program()) {
        return Some(format!("{error:#}"));
    }
    binary::missing()
}

/// Returns a name for all objects of one centre. It is short, because user names may have 32 characters.
pub fn new_id() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("vctl-centre-{:x}-{number:x}", std::process::id())
}

/// Returns the last lines of a log, for an error message about its process.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
