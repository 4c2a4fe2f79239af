//! Records of the agent, read from the spool byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use vctl_common::event::{EventKind, ExecEvent, ExitEvent, KernelEvent};
use vctl_common::id::{CertSerial, ProcessId};
use vctl_common::session::{Gap, GapCause};
use vctl_common::spool::{Filter, SessionRecord, SpoolReader};

use super::Lab;
use super::certificate::Certificate;

/// Limit for facts that must become true. Only a failing spec waits that long, also on a slow machine.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// One session in the spool.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub session: SessionRecord,
    pub events: Vec<KernelEvent>,
    pub damaged: Vec<Gap>,
}

impl Lab {
    /// Returns all sessions in the spool, newest first.
    pub fn sessions(&self) -> Result<Vec<Recorded>> {
        read(&self.spool(), &Filter::All)
    }

    /// Returns the sessions opened with a certificate's serial, newest first.
    pub fn sessions_of(&self, who: &Certificate) -> Result<Vec<Recorded>> {
        let serial = CertSerial::new(who.serial).context("the certificate has no serial")?;
        read(&self.spool(), &Filter::Serial(serial))
    }

    /// Waits until the certificate's one session is over and completely stored.
    pub fn whole_session(&self, who: &Certificate) -> Result<Recorded> {
        let mut sessions = self.closed_sessions(who, 1)?;
        let session = sessions.pop().context("no session")?;
        session.ensure_whole()?;
        Ok(session)
    }

    /// Waits until the certificate has exactly `count` sessions and all are closed.
    pub fn closed_sessions(&self, who: &Certificate, count: usize) -> Result<Vec<Recorded>> {
        let mut last = Vec::new();
        let found = eventually(PATIENCE, || {
            last = self.sessions_of(who)?;
            let closed = last
                .iter()
                .filter(|session| session.session.closed.is_some())
                .count();
            ensure!(
                last.len() <= count,
                "{} sessions instead of {count}",
                last.len()
            );
            Ok(closed == count)
        })?;
        if !found {
            let shown: Vec<_> = last.iter().map(Recorded::summary).collect();
            bail!(
                "not {count} closed sessions of serial {}, but: {shown:#?}",
                who.serial
            );
        }
        Ok(last)
    }
}

/// Reads the matching sessions of a spool.
pub fn read(spool: &std::path::Path, filter: &Filter) -> Result<Vec<Recorded>> {
    let reader = SpoolReader::open(spool)?;
    let sessions = reader.sessions(filter)?;
    let recorded = sessions.into_iter().map(|session| {
        let timeline = reader.timeline(&session)?;
        let events = timeline
            .events
            .into_iter()
            .map(|stored| stored.event)
            .collect();
        Ok(Recorded {
            session,
            events,
            damaged: timeline.damaged,
        })
    });
    recorded.collect()
}

/// Returns by how much this machine is slower than usual: `VCTL_TEST_PATIENCE`, which an emulator sets.
pub(super) fn slowness() -> u32 {
    let factor = std::env::var("VCTL_TEST_PATIENCE").ok();
    factor.and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// Repeats the check until it returns true, or the time is over.
pub fn eventually(within: Duration, mut asks: impl FnMut() -> Result<bool>) -> Result<bool> {
    let within = within * slowness();
    let asked = Instant::now();
    loop {
        if asks()? {
            return Ok(true);
        }
        if asked.elapsed() > within {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Recorded {
    pub fn execs(&self) -> impl Iterator<Item = (&KernelEvent, &ExecEvent)> {
        self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Exec(exec) => Some((event, exec.as_ref())),
            _ => None,
        })
    }

    pub fn exits(&self) -> impl Iterator<Item = (&KernelEvent, &ExitEvent)> {
        self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Exit(exit) => Some((event, exit)),
            _ => None,
        })
    }

    /// Returns each command as one line. Bytes that are not UTF-8 are replaced.
    pub fn commands(&self) -> Vec<String> {
        self.execs().map(|(_, exec)| command(exec)).collect()
    }

    /// Counts the commands that have `part` in one of their arguments.
    pub fn count(&self, part: &str) -> usize {
        self.commands()
            .iter()
            .filter(|command| command.contains(part))
            .count()
    }

    /// Returns the execs of a program, by the name of its file.
    pub fn runs_of<'a>(&'a self, program: &'a str) -> impl Iterator<Item = &'a ExecEvent> {
        let name = |exec: &ExecEvent| {
            exec.exe
                .path
                .rsplit(|&b| b == b'/')
                .next()
                .map(<[u8]>::to_vec)
        };
        let runs = self.execs().map(|(_, exec)| exec);
        runs.filter(move |exec| name(exec).as_deref() == Some(program.as_bytes()))
    }

    /// Fails when an event is missing, stored twice or damaged, or when an end does not match its start.
    pub fn ensure_whole(&self) -> Result<()> {
        let sequence: Vec<_> = self.events.iter().map(|event| event.session_seq).collect();
        let wanted: Vec<_> = (1..=sequence.len() as u64).collect();
        ensure!(
            sequence == wanted,
            "sequence {sequence:?}: {:#?}",
            self.summary()
        );
        ensure!(self.damaged.is_empty(), "damaged: {:?}", self.damaged);
        let gaps = &self.session.gaps;
        let are_skips = gaps.iter().all(|gap| gap.cause == GapCause::ProbeSkipped);
        let is_allowed = gaps.is_empty() || are_skips && is_preemptible();
        ensure!(is_allowed, "gaps: {:?}", self.session.gaps);
        let closed = self
            .session
            .closed
            .as_ref()
            .context("the session is still open")?;
        let counted = (closed.produced, closed.stored);
        let stored = self.events.len() as u64;
        ensure!(
            counted == (Some(stored), stored),
            "produced and stored are {counted:?}"
        );
        self.ensure_each_process_ends_once()
    }

    fn ensure_each_process_ends_once(&self) -> Result<()> {
        let mut ends: BTreeMap<ProcessId, usize> = BTreeMap::new();
        for (event, _) in self.exits() {
            *ends.entry(event.process).or_default() += 1;
        }
        let twice: Vec<_> = ends.iter().filter(|(_, count)| **count != 1).collect();
        ensure!(
            twice.is_empty(),
            "processes that ended more than once: {twice:?}"
        );
        let started: BTreeSet<_> = self.execs().map(|(event, _)| event.process).collect();
        let endless: Vec<_> = started
            .iter()
            .filter(|process| !ends.contains_key(process))
            .collect();
        ensure!(endless.is_empty(), "processes without an end: {endless:?}");
        Ok(())
    }

    /// Returns the session in a few lines, for the message of a failing spec.
    pub fn summary(&self) -> Vec<String> {
        let head = format!(
            "{} {:?} closed: {:?} gaps: {:?}",
            self.session.opened.id,
            self.session.opened.stamp,
            self.session.closed,
            self.session.gaps
        );
        let events = self.events.iter().map(|event| {
            let what = match &event.kind {
                EventKind::Exec(exec) => format!("exec {}", command(exec)),
                EventKind::ExecFailed { errno, exec } => {
                    format!("failed {errno} {}", command(exec))
                }
                EventKind::Exit(exit) => format!("exit {:?}", exit.status),
                EventKind::CgroupMove(moved) => format!("{moved:?}"),
            };
            let mut line = format!("{} pid {} {what}", event.session_seq, event.process.tgid);
            line.truncate(line.floor_char_boundary(200));
            line
        });
        std::iter::once(head).chain(events).collect()
    }
}

fn command(exec: &ExecEvent) -> String {
    let items = exec.argv.iter().map(|item| String::from_utf8_lossy(item));
    items.collect::<Vec<_>>().join(" ")
}

/// Returns whether the kernel preempts itself. It may then skip a probe, and the record says so.
fn is_preemptible() -> bool {
    let models = fs::read_to_string("/sys/kernel/debug/sched/preempt").unwrap_or_default();
    models.contains("(full)") || models.contains("(lazy)")
}
