//! The process that owns a stack, and how `up` starts it in the background.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::stat::{Mode, umask};
use vctl_tests::centre::{Centre, DATABASE, DB_ADMIN, DB_NAME, Options, new_id};
use vctl_tests::lab::{Journal, Undo};

use crate::state::{Directory, State};

/// Starts the owner in the background, shows what it says, and returns when the stack is up.
pub(crate) fn start(directory: &Directory, bare: bool) -> Result<State> {
    directory.create()?;
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    let log = options.open(directory.log_path())?;
    // Opened now: an owner that fails takes the directory away.
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

/// Is the owner: starts everything, writes down what runs, and waits to be told to end.
pub(crate) fn run(directory: &Directory, bare: bool) -> Result<()> {
    // Out of the terminal's reach: closing it does not end the stack.
    nix::unistd::setsid().context("only `stack up` starts this")?;
    // Postgres and people's `vctl` have to get at what is theirs, whatever root's own habit is.
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
        ..Options::default()
    };
    let centre = Centre::start_with(id, &journal, &options)?;
    directory.write(&state(&centre)?)?;
    // The watcher of signals undoes everything and ends the process.
    loop {
        std::thread::park();
    }
}

fn state(centre: &Centre) -> Result<State> {
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
    let lines = vec![
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
        "use it with: eval \"$(cargo xtask stack env)\"".to_owned(),
        "end it with: cargo xtask stack down".to_owned(),
    ];
    Ok(State {
        pid: std::process::id(),
        lines,
        exports,
    })
}
