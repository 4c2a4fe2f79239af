//! The process that owns a stack, and how `up` starts it in the background.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::stat::{Mode, umask};
use vctl_tests::centre::{Centre, DATABASE, DB_ADMIN, DB_NAME, Options, Trial, new_id};
use vctl_tests::lab::{Journal, Undo};

use crate::state::{Directory, State};

/// Starts the owner in the background, shows its output, and returns when the stack is up.
pub(crate) fn start(directory: &Directory, bare: bool) -> Result<State> {
    directory.create()?;
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    let log = options.open(directory.log_path())?;
    // Opened now, because an owner that fails removes the directory.
    let mut said = File::open(directory.log_path())?;
    let mut owner = Command::new(std::env::current_exe()?)
        .arg("--state")
        .arg(directory.path())
        .arg("keep")
        .args(bare.then_some("--bare"))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("cannot start the owner of the stack")?;
    loop {
        let ended = owner.try_wait()?;
        let mut text = Vec::new();
        said.read_to_end(&mut text)?;
        let _ = std::io::stderr().write_all(&text);
        if let Some(status) = ended {
            bail!("the stack did not come up: its owner ended with {status}");
        }
        if let Some(state) = directory.read()?
            && state.pid == owner.id()
        {
            return Ok(state);
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Runs as the owner: starts all parts, writes the state file, and waits for a signal to end.
pub(crate) fn run(directory: &Directory, bare: bool) -> Result<()> {
    // A new session, so that the stack survives when the terminal is closed.
    nix::unistd::setsid().context("only `stack up` starts this")?;
    // Postgres and the users' `vctl` must be able to read their files, whatever root's umask is.
    umask(Mode::from_bits_truncate(0o022));
    let _lock = directory.take()?;
    let id = new_id();
    let journal = Journal::open(&id)?;
    journal.before(Undo::RemoveTree {
        path: directory.path().to_owned(),
    })?;
    let options = Options {
        bare,
        host: true,
        progress: Some(progress),
        ..Options::default()
    };
    let centre = Centre::start_with(id, &journal, &options)?;
    let trial = if bare {
        None
    } else {
        progress("adding two hosts and two users");
        Some(Trial::start(&centre)?)
    };
    directory.write(&state(&centre, trial.as_ref())?)?;
    // The signal handler undoes all changes and ends the process.
    loop {
        std::thread::park();
    }
}

/// Writes a step into the log, with the time since the first one.
fn progress(step: &str) {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    let since = BEGAN.get_or_init(Instant::now).elapsed();
    let _ = writeln!(std::io::stderr(), "{:5.1} s  {step}", since.as_secs_f32());
}

fn state(centre: &Centre, trial: Option<&Trial>) -> Result<State> {
    let host = centre.host.as_ref().context("there is no host")?;
    let bao = &centre.bao;
    let postgres = &centre.postgres;
    let mut exports: Vec<_> = centre
        .environment()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    exports.push((
        "VAULT_TOKEN".to_owned(),
        bao.root_token().expose().to_owned(),
    ));
    let psql = format!(
        "sudo PGPASSFILE={} psql 'host={DB_NAME} hostaddr=127.0.0.1 port={} user={DB_ADMIN} \
         dbname={DATABASE} sslmode=verify-full sslrootcert={}'",
        postgres.password_file().display(),
        postgres.port,
        postgres.ca().display()
    );
    let mut lines = vec![
        format!("  {}: {}", bao.binary.version, bao.address()),
        format!("    its client: {}", bao.binary.path.display()),
        format!("    its audit file: {}", bao.audit_log().display()),
        format!(
            "  Postgres: 127.0.0.1 port {}, named {DB_NAME}",
            postgres.port
        ),
        format!("    as superuser: {psql}"),
        format!("  sshd: {}@127.0.0.1 port {}", host.user(), host.port()),
        format!("    its host key: {}", host.known_hosts().display()),
    ];
    if let Some(trial) = trial {
        let hosts = trial.hosts.iter().map(|(name, _)| *name);
        let hosts = hosts.collect::<Vec<_>>().join(", ");
        lines.push(format!("  hosts in the inventory: {hosts}"));
        for person in &trial.people {
            let password = person.password.expose();
            lines.push(format!("  person: {}, password {password}", person.name));
        }
        lines.push("    both may log in to the hosts; bob may also read the records".to_owned());
    }
    Ok(State {
        pid: std::process::id(),
        lines,
        first_steps: trial.map(Trial::first_steps).unwrap_or_default(),
        exports,
    })
}
