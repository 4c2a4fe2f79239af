//! Exports to a SIEM: each event once, also after a crash, in any commit order, for lines and for OTLP.

mod access;
mod archive;
mod checkpoint;
mod incomplete;
mod late;
mod once;
mod otlp;
mod programs;
mod selection;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::Value;
use vctl_agent::store::Shipper;
use vctl_common::id::SessionId;
use vctl_tests::centre::{Centre, HostIdentity, Secret};
use vctl_tests::lab::{PATIENCE, Programs, eventually};
use vctl_tests::ship::Source;

/// A host whose spool is shipped, and an auditor who exports.
struct Exporting {
    centre: &'static Centre,
    source: Source,
    auditor: Secret,
    dir: tempfile::TempDir,
    shipper: Option<Shipper>,
}

impl Exporting {
    fn new() -> Option<Self> {
        let centre = Centre::shared()?;
        let dir = tempfile::tempdir().unwrap();
        let auditor = centre.with_policies(&["vctl-auditor"]).unwrap();
        Some(Self {
            source: Source::open(&dir.path().join("spool"), 1 << 20, 1 << 30).unwrap(),
            auditor: auditor.token().clone(),
            centre,
            dir,
            shipper: None,
        })
    }

    /// Starts the shipper. From now on, it ships new records at once.
    fn ship(&mut self) {
        let way = self
            .centre
            .way(identity(self.centre), self.dir.path())
            .unwrap();
        self.shipper = Some(self.source.ship(&way).unwrap());
    }

    /// Opens a session with this number of events, and closes it if `ends`.
    fn session(&mut self, events: u64, ends: bool) -> SessionId {
        let id = self.source.log_in(7).unwrap();
        self.source.work(id, events).unwrap();
        if ends {
            self.source.log_out(id).unwrap();
        }
        id
    }

    /// Waits until the centre has stored these numbers of events.
    fn wait_for(&self, truth: &BTreeMap<SessionId, u64>) {
        let ids: Vec<String> = truth.keys().map(|id| format!("'{id}'")).collect();
        let sql = format!(
            "select coalesce(sum(stored), 0) from vctl.audit_session where id in ({})",
            ids.join(", ")
        );
        let total: u64 = truth.values().sum();
        let stored = eventually(PATIENCE, || Ok(self.centre.ask(&sql)? == total.to_string()));
        assert!(stored.unwrap(), "{total} events do not arrive");
    }

    /// Waits until the centre has the end of a session, which is behind its events.
    fn wait_for_end(&self, id: SessionId) {
        let sql = format!("select closed is not null from vctl.audit_session where id = '{id}'");
        let closed = eventually(PATIENCE, || Ok(self.centre.ask(&sql)? == "t"));
        assert!(closed.unwrap(), "the end of {id} does not arrive");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        vctl(self.centre, &self.auditor, args)
    }

    /// Returns an export of the sessions of this spec's host, with a checkpoint.
    fn export(&self, checkpoint: &Path, args: &[&str]) -> Command {
        let mut command = self.command(&["session", "export", "--host", HOST, "--checkpoint"]);
        command.arg(checkpoint).args(args);
        command
    }
}

/// The host of all specs of this folder. Vault cannot create roles for several hosts at once.
const HOST: &str = "exporting";

fn identity(centre: &Centre) -> &'static HostIdentity {
    static IDENTITY: OnceLock<HostIdentity> = OnceLock::new();
    IDENTITY.get_or_init(|| centre.enroll(HOST).unwrap())
}

fn vctl(centre: &Centre, auditor: &Secret, args: &[&str]) -> Command {
    let mut command = Command::new(Programs::find().unwrap().vctl);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .envs(centre.environment())
        .env("VAULT_TOKEN", auditor.expose());
    command
}

/// A running export, and the events that it wrote so far.
struct Exporter {
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
    said: Arc<Mutex<String>>,
}

impl Exporter {
    fn begin(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, said) = (
            Arc::<Mutex<Vec<Value>>>::default(),
            Arc::<Mutex<String>>::default(),
        );
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let into = lines.clone();
        let reader = thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                // A process that was killed may leave half a line.
                if let Ok(line) = serde_json::from_slice(&line) {
                    into.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(line);
                }
            }
        });
        let (mut stderr, into) = (child.stderr.take().unwrap(), said.clone());
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut part) {
                let text = String::from_utf8_lossy(&part[..read]);
                into.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&text);
            }
        });
        Self {
            child,
            lines,
            reader: Some(reader),
            said,
        }
    }

    fn lines(&self) -> Vec<Value> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns the number of lines. Counting does not slow the reader down.
    fn count(&self) -> usize {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn said(&self) -> String {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let held = eventually(PATIENCE, || Ok(holds(self)));
        assert!(
            held.unwrap(),
            "{what}: {} lines, {}",
            self.lines().len(),
            self.said()
        );
    }

    /// Ends the process by SIGKILL, and returns all that it wrote.
    fn kill(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        self.lines()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs an export that must succeed, and returns its events.
fn events_of(mut command: Command) -> Vec<Value> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    lines_of(&output)
}

fn lines_of(output: &Output) -> Vec<Value> {
    let lines = output.stdout.lines().map_while(Result::ok);
    lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

fn id_of(event: &Value) -> String {
    event["event"]["id"].as_str().unwrap().to_owned()
}

/// Returns the ids of the events of these sessions.
fn ids_of(events: &[Value], truth: &BTreeMap<SessionId, u64>) -> Vec<String> {
    let is_ours = |event: &&Value| {
        let id = event["vctl"]["session"]["id"].as_str();
        id.is_some_and(|id| truth.contains_key(&id.parse().unwrap()))
    };
    events.iter().filter(is_ours).map(id_of).collect()
}

/// Returns the ids of all events that these sessions have when they are closed.
fn all_ids(truth: &BTreeMap<SessionId, u64>) -> Vec<String> {
    let mut ids = Vec::new();
    for (id, events) in truth {
        ids.extend((1..=*events).map(|seq| format!("{id}-{seq}")));
        ids.extend([format!("{id}-opened"), format!("{id}-closed")]);
    }
    ids.sort();
    ids
}
