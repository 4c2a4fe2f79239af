//! Reads the recording through `vctl session --local --json`, as users do.

use std::io::BufReader;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use vctl_common::id::ProcessId;
use vctl_common::time::BootNs;
use vctl_tests::load::compare::Stored;

use crate::rig::{Rig, wait_for};

/// A session. Its events are present only when the session was requested by its serial.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Session {
    pub(crate) serial: Option<String>,
    pub(crate) open: bool,
    pub(crate) complete: bool,
    pub(crate) events_stored: u64,
    events_missing: Missing,
    #[serde(default)]
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Missing {
    counted: u64,
    uncounted: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    boot_ns: String,
    seq: u64,
    process: Process,
    #[serde(flatten)]
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug, Deserialize)]
struct Process {
    pid: u32,
    start_boot_ns: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Kind {
    Exec {
        argv: Vec<serde_json::Value>,
    },
    Exit {
        code: Option<u8>,
        signal: Option<u8>,
        core_dumped: bool,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Document {
    sessions: Vec<Session>,
}

/// Returns every session of the spool, without events.
pub(crate) fn list(rig: &Rig) -> Result<Vec<Session>> {
    let document: Document = ask(rig, &["--list", "--limit", "0", "--json"])?;
    Ok(document.sessions)
}

/// Returns the one session of a serial with its events, once the session is closed.
pub(crate) fn closed_session(rig: &Rig, serial: u64) -> Result<Session> {
    let wanted = serial.to_string();
    wait_for(
        "the end of the session in the spool",
        Duration::from_mins(1),
        || {
            let of_serial = |session: &Session| session.serial.as_deref() == Some(&*wanted);
            let found = list(rig)?.into_iter().find(of_serial);
            Ok(found.filter(|session| !session.open))
        },
    )?;
    let mut sessions = of_serial(rig, serial)?;
    let session = sessions.pop().context("the session is gone")?;
    ensure!(
        sessions.is_empty(),
        "serial {serial} has more than one session"
    );
    Ok(session)
}

/// Returns all sessions once all are closed. Fails when there are not `count` of them.
pub(crate) fn all_closed(rig: &Rig, count: usize) -> Result<Vec<Session>> {
    let mut sessions = Vec::new();
    let ended = wait_for("the end of all sessions", Duration::from_mins(1), || {
        sessions = list(rig)?;
        let over = sessions.len() >= count && sessions.iter().all(|session| !session.open);
        Ok(over.then_some(()))
    });
    let open = sessions.iter().filter(|session| session.open).count();
    ended.with_context(|| {
        format!(
            "of {count} sessions {} are stored, {open} open",
            sessions.len()
        )
    })?;
    Ok(sessions)
}

/// Returns the sessions of a serial with their events.
pub(crate) fn of_serial(rig: &Rig, serial: u64) -> Result<Vec<Session>> {
    let document: Document = ask(rig, &[&serial.to_string(), "--json"])?;
    Ok(document.sessions)
}

impl Session {
    /// Argv of each started program, with its process (pid and start).
    pub(crate) fn execs(&self) -> impl Iterator<Item = (Vec<String>, ProcessId)> {
        self.events.iter().filter_map(|event| match &event.kind {
            Kind::Exec { argv } => {
                let argv = argv.iter().map(|item| text(Some(item))).collect();
                Some((argv, event.process().ok()?))
            }
            _ => None,
        })
    }

    /// Exit code of a process. `None` when a signal ended it, or when it still runs.
    pub(crate) fn exit_of(&self, process: ProcessId) -> Option<u8> {
        self.events.iter().find_map(|event| match event.kind {
            Kind::Exit { code, .. } if event.process().is_ok_and(|found| found == process) => code,
            _ => None,
        })
    }

    pub(crate) fn has_exit(&self, process: ProcessId) -> bool {
        let exits = self
            .events
            .iter()
            .filter(|event| matches!(event.kind, Kind::Exit { .. }));
        exits
            .into_iter()
            .any(|event| event.process().is_ok_and(|found| found == process))
    }

    /// Number of missing events. `None` when the session reports that they cannot be counted.
    pub(crate) fn missing(&self) -> Option<u64> {
        (!self.events_missing.uncounted).then_some(self.events_missing.counted)
    }

    /// Number of exec and exit pairs in a row, from the first event of the session.
    pub(crate) fn pairs_before_first_hole(&self) -> u64 {
        let mut seqs: Vec<_> = self.events.iter().map(|event| event.seq).collect();
        seqs.sort_unstable();
        let whole = (1..)
            .zip(seqs)
            .take_while(|(expected, seq)| expected == seq);
        whole.count() as u64 / 2
    }

    /// Events in the form that the comparison with a ledger needs. The exit of the leader is left out, because the leader
    /// is not a child of a load.
    pub(crate) fn against_ledger(&self, leader: u32) -> Result<Vec<Stored>> {
        let events = self.events.iter();
        events
            .filter(|event| event.process.pid != leader)
            .map(Event::stored)
            .collect()
    }
}

impl Event {
    fn process(&self) -> Result<ProcessId> {
        Ok(ProcessId {
            tgid: self.process.pid,
            start: BootNs(self.process.start_boot_ns.parse()?),
        })
    }

    fn stored(&self) -> Result<Stored> {
        let process = self.process()?;
        let at = BootNs(self.boot_ns.parse()?);
        Ok(match &self.kind {
            Kind::Exec { argv } => Stored::Exec {
                process,
                at,
                nonce: text(argv.get(1)),
            },
            Kind::Exit {
                code,
                signal,
                core_dumped,
            } => Stored::Exit {
                process,
                at,
                wait_status: u32::from(code.unwrap_or(0)) << 8
                    | u32::from(signal.unwrap_or(0))
                    | if *core_dumped { 0x80 } else { 0 },
            },
            Kind::Other => Stored::Other,
        })
    }
}

fn text(item: Option<&serde_json::Value>) -> String {
    item.and_then(|item| item.as_str())
        .unwrap_or_default()
        .to_owned()
}

fn ask<T: DeserializeOwned>(rig: &Rig, arguments: &[&str]) -> Result<T> {
    let mut process = rig
        .vctl_session(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run `vctl`")?;
    let out = process.stdout.take().context("no pipe")?;
    // The output is parsed while it arrives, because ten minutes of load are gigabytes of JSON.
    let answer = serde_json::from_reader(BufReader::with_capacity(1 << 20, out));
    let status = process.wait()?;
    ensure!(
        status.success(),
        "`vctl session {}` ended with {status}",
        arguments.join(" ")
    );
    answer.with_context(|| {
        format!(
            "`vctl session {}` does not have the documented form",
            arguments.join(" ")
        )
    })
}
