//! A host to log in to, on loopback: sshd with temporary authorities, temporary accounts, the PAM hook, the agent.
//!
//! ```no_run
//! # use vctl_tests::lab::{Lab, Options};
//! let lab = Lab::start(&Options::default())?;
//! let alice = lab.certificate("alice", 11)?;
//! lab.ssh_ok(&alice, "true")?;
//! let timeline = lab.vctl(&["session", "--local", "11"])?;
//! # anyhow::Ok(())
//! ```
pub(crate) mod account;
mod agent;
pub(crate) mod certificate;
mod client;
mod clock;
mod cgroup;
mod interrupt;
mod journal;
mod mounts;
pub mod process;
mod recorded;
mod requirements;
pub(crate) mod sshd;
mod undo;

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

pub use agent::Agent;
pub use certificate::{Authority, Certificate, Subject};
pub use journal::{Journal, repair, undo_when_its_owner_is_gone};
pub use recorded::{PATIENCE, Recorded, eventually, read};
pub(crate) use requirements::directory_of_programs;
pub use requirements::{Programs, exempt, installed, missing, skip, start_or_skip};
pub use undo::Undo;

/// Differences between a lab and the usual one.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keys of the agent's configuration, without its directories.
    pub agent: Vec<(&'static str, String)>,
    /// Leaves starting the agent to the caller.
    pub agent_waits: bool,
    /// Further accounts, after the first one.
    pub more_users: usize,
    /// Further authorities, after the first one.
    pub more_authorities: usize,
    /// Public keys of external authorities that sshd trusts.
    pub trusted: Vec<String>,
    /// Puts each login into a separate cgroup, as systemd's PAM module does.
    pub cgroup_per_login: bool,
    /// Makes the last account's group the agent's break-glass group.
    pub break_glass: bool,
    /// Puts the spool on a file system with that many bytes.
    pub spool_bytes: Option<u64>,
    /// Program `stopwatch`, and the file for the start and end of each hook.
    pub stopwatch: Option<(PathBuf, PathBuf)>,
    /// Lines for sshd's configuration.
    pub sshd: String,
}

/// The host. Its changes on the machine are undone when it is dropped.
pub struct Lab {
    id: String,
    service: String,
    root: PathBuf,
    pub programs: Programs,
    pub agent: Agent,
    sshd: sshd::Sshd,
    users: Vec<String>,
    authorities: Vec<Authority>,
    journal: Arc<Journal>,
    /// Held while this lab has changed a setting of the whole machine.
    machine: Option<File>,
}

impl Lab {
    /// Starts a lab. When a step fails, the finished steps are undone.
    pub fn start(options: &Options) -> Result<Self> {
        let id = new_id();
        let journal = Journal::open(&id)?;
        Self::build(id, &journal, options).inspect_err(|_| {
            report(&journal);
        })
    }

    /// Starts a lab. Prints the reason and returns `None` when this machine cannot run one.
    ///
    /// # Panics
    /// When this machine can run a lab and it does not start.
    pub fn or_skip(options: &Options) -> Option<Self> {
        start_or_skip(missing(), || Self::start(options))
    }

    fn build(id: String, journal: &Arc<Journal>, options: &Options) -> Result<Self> {
        let programs = Programs::find()?;
        let root = Path::new("/run").join(&id);
        journal.before(Undo::RemoveTree { path: root.clone() })?;
        // Other accounts may pass this directory but not list it, because their homes are below it.
        make_directory(&root, 0o711)?;
        make_directory(&root.join("homes"), 0o711)?;
        make_directory(&root.join("keys"), 0o700)?;
        make_directory(&root.join("authorized_keys"), 0o755)?;
        mounts::ensure(journal, &id)?;
        let authorities = (0..=options.more_authorities)
            .map(|number| Authority::create(&root.join("keys"), &format!("ca{number}")))
            .collect::<Result<Vec<_>>>()?;
        let users = (0..=options.more_users)
            .map(|number| {
                let name = format!("{id}-{number}");
                account::add(journal, &name, &root.join("homes"))?;
                Ok(name)
            })
            .collect::<Result<Vec<_>>>()?;
        let pins = Path::new(mounts::BPFFS).join(&id);
        let mut keys = options.agent.clone();
        if let (true, Some(user)) = (options.break_glass, users.last()) {
            keys.push(("break_glass_group", user.clone()));
        }
        if let Some(bytes) = options.spool_bytes {
            mounts::small(journal, &root.join("spool"), bytes)?;
        }
        // Other labs also have logins, but their hooks do not ask this agent. The options may set other names.
        let service = id.replace("vctl-lab-", "sshd");
        keys.insert(0, ("sshd_names", format!("[{service}]")));
        let agent = Agent::prepare(journal, &programs.agent, &root, &pins, &keys)?;
        let mut hooks = String::new();
        if options.cgroup_per_login {
            hooks.push_str(&cgroup::hook(journal, &id, &root)?);
        }
        hooks.push_str(&agent.hook(options.stopwatch.as_ref()));
        let of_others = options
            .trusted
            .iter()
            .map(|key| Ok(format!("{}\n", key.trim())));
        let trusted = authorities
            .iter()
            .map(Authority::public_line)
            .chain(of_others);
        let settings = sshd::Settings {
            root: &root,
            service: &service,
            trusted: &trusted.collect::<Result<String>>()?,
            session_lines: &hooks,
            extra: &options.sshd,
        };
        let mut lab = Self {
            sshd: sshd::Sshd::start(journal, &settings)?,
            id,
            service,
            root,
            programs,
            agent,
            users,
            authorities,
            journal: Arc::clone(journal),
            machine: None,
        };
        if !options.agent_waits {
            lab.agent.start()?;
        }
        Ok(lab)
    }

    /// Starts another agent on this host, with other directories.
    pub fn another_agent(&self, name: &str, pin_dir: Option<&Path>) -> Result<Agent> {
        let directory = self.root.join(name);
        make_directory(&directory, 0o700)?;
        let own = Path::new(mounts::BPFFS).join(format!("{}-{name}", self.id));
        let pin_dir = pin_dir.unwrap_or(&own);
        Agent::prepare(
            &self.journal,
            &self.programs.agent,
            &directory,
            pin_dir,
            &[("sshd_names", "[none]".to_owned())],
        )
    }

    /// Signs a certificate of the first authority for the lab's users.
    pub fn certificate(&self, key_id: &str, serial: u64) -> Result<Certificate> {
        let principals = self.users.join(",");
        self.certificate_of(
            0,
            Subject {
                key_id,
                serial,
                principals: &principals,
                options: &[],
            },
        )
    }

    /// Signs a certificate of the authority with that index.
    pub fn certificate_of(&self, authority: usize, subject: Subject<'_>) -> Result<Certificate> {
        let authority = self
            .authorities
            .get(authority)
            .context("no such authority")?;
        authority.sign(&self.keys(), subject)
    }

    /// Makes a key for a certificate from an external signer. `sign` gets the public key and returns the certificate and
    /// its serial.
    pub fn certificate_by(
        &self,
        key_id: &str,
        sign: impl FnOnce(&str) -> Result<(String, u64)>,
    ) -> Result<Certificate> {
        certificate::signed_by(&self.keys().join(format!("of-{key_id}")), key_id, sign)
    }

    /// Makes a plain key that may log in as the first user without a certificate.
    pub fn plain_key(&self) -> Result<Certificate> {
        let key = self.keys().join("plain");
        certificate::key_pair(&key, "plain")?;
        let authorized = self.root.join("authorized_keys").join(self.user());
        fs::copy(key.with_extension("pub"), authorized)?;
        Ok(Certificate {
            key_id: "plain".to_owned(),
            serial: 0,
            key,
            certificate: None,
        })
    }

    /// Returns the PAM line that runs the agent's hook.
    pub fn pam_line(&self) -> String {
        self.agent.hook(None)
    }

    /// Makes the next logins run other lines of the PAM session stack, after pam_loginuid.
    pub fn set_pam_lines(&self, lines: &str) -> Result<()> {
        sshd::write_stack(&self.service, lines)
    }

    /// Returns the number of logins that sshd has accepted.
    pub fn accepted(&self) -> Result<usize> {
        let log = fs::read(self.root.join("sshd.log"))?;
        let log = String::from_utf8_lossy(&log);
        Ok(log.matches("Accepted publickey for ").count())
    }

    /// Returns the name of sshd's program and PAM service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Runs `vctl` on this lab's spool.
    pub fn vctl(&self, args: &[&str]) -> Result<Output> {
        self.vctl_command(args)
            .output()
            .context("cannot run `vctl`")
    }

    pub fn vctl_command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.vctl);
        command
            .args(args)
            .env("VCTL_SPOOL_DIR", self.spool())
            // The lab's sshd has its own configuration, which `sshd -T` does not know.
            .env("VCTL_TRUSTED_CA_KEYS", self.root.join("trusted_ca"))
            .stdin(Stdio::null());
        command
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory with the pins of the probe.
    pub fn pins(&self) -> PathBuf {
        Path::new(mounts::BPFFS).join(&self.id)
    }

    pub fn spool(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// Returns the number of markers of late logins that wait for the agent.
    pub fn markers(&self) -> Result<usize> {
        let entries = fs::read_dir(self.root.join("pending"))?;
        let names = entries.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<Result<Vec<_>>>()?;
        Ok(names.iter().filter(|name| *name != "rejected").count())
    }

    pub fn port(&self) -> u16 {
        self.sshd.port
    }

    /// Returns the first account.
    pub fn user(&self) -> &str {
        &self.users[0]
    }

    pub fn users(&self) -> &[String] {
        &self.users
    }

    pub fn home(&self) -> PathBuf {
        self.root.join("homes").join(self.user())
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Changes a setting of the kernel until the lab ends.
    pub fn set_kernel(&mut self, path: &Path, value: &str) -> Result<()> {
        self.have_the_machine_alone()?;
        let content = fs::read_to_string(path)?;
        let path = path.to_owned();
        self.journal.before(Undo::WriteFile {
            path: path.clone(),
            content,
        })?;
        fs::write(&path, value).with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// Steps the wall clock by so many seconds until the lab ends.
    pub fn step_clock(&mut self, seconds: i64) -> Result<()> {
        self.have_the_machine_alone()?;
        clock::step(&self.journal, seconds)
    }

    /// Waits for other labs that changed the machine, because each lab would restore the changes of the other.
    fn have_the_machine_alone(&mut self) -> Result<()> {
        if self.machine.is_none() {
            let file = File::create("/run/vctl-lab.machine")?;
            file.lock()?;
            self.machine = Some(file);
        }
        Ok(())
    }

    /// Returns where the unified cgroup hierarchy is mounted.
    pub fn cgroups(&self) -> Result<PathBuf> {
        mounts::unified_cgroups()
    }

    fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }

    /// Ends the lab now and returns the changes that could not be undone.
    pub fn end(self) -> Vec<anyhow::Error> {
        self.journal.undo()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let sshd = fs::read_to_string(self.root.join("sshd.log")).unwrap_or_default();
            let agent = self.agent.last_words();
            say(&format!(
                "{} failed; sshd said:\n{sshd}\nthe agent said last:\n{agent}",
                self.id
            ));
        }
        report(&self.journal);
    }
}

pub(crate) fn report(journal: &Journal) {
    for failure in journal.undo() {
        say(&format!("could not be undone: {failure:#}"));
    }
}

pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<()> {
    let made = DirBuilder::new().mode(mode).create(path);
    made.with_context(|| format!("cannot make `{}`", path.display()))
}

/// Returns a name for all objects of one lab. It is short, because user names may have 32 characters.
fn new_id() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("vctl-lab-{:x}-{number:x}", std::process::id())
}

/// Writes to the terminal without libtest, which hides the output of passing tests.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
