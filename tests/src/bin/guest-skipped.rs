//! `guest-skipped`: two logins under load, on a kernel that preempts tracepoints and so skips programs there.
//!
//! Each exec and each exit has to be recorded once, or a gap says that the kernel skipped a probe.
#![allow(clippy::print_stdout, reason = "its stdout is the result")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use vctl_agent::probe::{CopySkips, copy_skips};
use vctl_common::event::EventKind;
use vctl_common::id::ProcessId;
use vctl_common::session::GapCause;
use vctl_common::spool::Filter;
use vctl_common::status;
use vctl_common::time::wall_now;
use vctl_tests::lab::{PATIENCE, Recorded, eventually, read};
use vctl_tests::load::guest::{PINS, await_failed_execs, log_in, start_agent};

const SPOOL: &str = "/var/lib/vctl/spool";
const RUN: &str = "/run/vctl";
const TRUTH: &str = "/tmp/skipped-truth";
const SERIALS: [u64; 2] = [21, 22];

/// Four processes at a time execute programs and fail to. Each writes how often.
const WORK: &str = "
for i in 1 2 3 4; do
  (
    n=0; execs=0; fails=0
    while [ $n -lt 500 ]; do
      /bin/busybox true counted && execs=$((execs + 1))
      /no/such/counted 2>/dev/null || fails=$((fails + 1))
      n=$((n + 1))
    done
    echo $execs $fails >> /tmp/skipped-truth
  ) &
done
wait
";
const PROGRAM: [&str; 3] = ["/bin/busybox", "true", "counted"];
const MISSING: &[u8] = b"/no/such/counted";

/// Compare the record of two logins with their own counts, where the kernel skips probes
#[derive(Debug, Parser)]
struct Options {
    /// Serial of the certificate; this process becomes its login
    #[arg(long, hide = true)]
    login: Option<u64>,
}

/// Numbers of counted events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    execs: usize,
    failed: usize,
    /// Exits of the processes of both.
    exits: usize,
}

fn main() -> Result<()> {
    match Options::parse().login {
        Some(serial) => log_in(serial, WORK),
        None => compare(),
    }
}

fn compare() -> Result<()> {
    fs::write(TRUTH, "")?;
    let agent = start_agent()?;
    await_failed_execs(Path::new(PINS))?;
    let mut agent = replaced(agent)?;
    let logins: Result<Vec<_>> = SERIALS.map(start_login).into_iter().collect();
    for mut login in logins? {
        let status = login.wait()?;
        ensure!(status.success(), "a login ended with {status}");
    }
    let sessions = closed()?;
    let skips = copy_skips(Path::new(PINS));
    for CopySkips {
        program,
        first,
        second,
        ..
    } in &skips
    {
        println!("@@skips of {program}: {first} of the first copy, {second:?} of the second");
    }
    let made = made()?;
    let mut found = Counts::default();
    let mut gaps = 0;
    for session in &sessions {
        let own = counted(session)?;
        found.execs += own.execs;
        found.failed += own.failed;
        found.exits += own.exits;
        gaps += session.session.gaps.len();
        let are_skips = session.session.gaps.iter();
        let are_skips = are_skips
            .map(|gap| gap.cause)
            .all(|cause| cause == GapCause::ProbeSkipped);
        ensure!(are_skips, "gaps: {:?}", session.session.gaps);
    }
    println!("@@recorded {found:?} of {made:?}, with {gaps} gaps");
    ensure!(
        gaps > 0 || found == made,
        "{found:?} instead of {made:?}, and no gap: {:#?}",
        sessions
            .iter()
            .map(|session| session.summary().first().cloned())
            .collect::<Vec<_>>()
    );
    let missing = made.failed.saturating_sub(found.failed);
    let most = skipped_by_now()?;
    ensure!(
        u64::try_from(missing)? <= most,
        "{missing} failed execs are missing, but probes were skipped {most} times"
    );
    // With fewer skips, the second copies had nothing to do.
    let skipped: u64 = skips.iter().map(|skips| skips.first).sum();
    ensure!(skipped > 0, "the kernel skipped no first copy");
    agent.kill()?;
    agent.wait()?;
    ensure!(
        skips.len() == 3 && skips.iter().all(|skips| skips.second.is_some()),
        "a program has no second copy: {skips:?}"
    );
    let lost = |program: &str| {
        let mut both = skips.iter().filter(|skips| skips.program == program);
        both.next().map_or(0, |skips| skips.lost())
    };
    // Without the record of its fork, a process has no mark, and its exec is missing too.
    let (missing, most) = (
        made.execs - found.execs,
        lost("process_exec") + lost("process_fork"),
    );
    ensure!(
        u64::try_from(missing)? <= most,
        "{missing} execs are missing, but both copies were skipped at most {most} times"
    );
    let lost = lost("process_exit");
    let endless = found.execs + found.failed - found.exits;
    ensure!(
        u64::try_from(endless)? <= lost,
        "{endless} exits are missing, but both copies were skipped at most {lost} times"
    );
    println!(
        "@@each exec and exit of two logins is recorded once, or a gap states that both copies were skipped"
    );
    Ok(())
}

/// Replaces the agent, and takes second copies away meanwhile: one as if an older agent had loaded the probe, one link.
fn replaced(mut agent: Child) -> Result<Child> {
    agent.kill()?;
    agent.wait()?;
    fs::remove_file("/tmp/ready")?;
    let removed = [
        "link_process_fork_second",
        "prog_process_fork_second",
        "link_process_exec_second",
    ];
    let pin = |name: &str| Path::new(PINS).join(name);
    for name in removed {
        fs::remove_file(pin(name)).with_context(|| format!("cannot remove `{name}`"))?;
    }
    let agent = start_agent()?;
    let absent: Vec<_> = removed.iter().filter(|name| !pin(name).exists()).collect();
    ensure!(absent.is_empty(), "not attached again: {absent:?}");
    Ok(agent)
}

/// Reads what the logins counted. Each process ends once.
fn made() -> Result<Counts> {
    let mut made = Counts::default();
    let text = fs::read_to_string(TRUTH)?;
    for line in text.lines() {
        let (execs, failed) = line.split_once(' ').context("a short line")?;
        made.execs += execs.parse::<usize>()?;
        made.failed += failed.parse::<usize>()?;
    }
    made.exits = made.execs + made.failed;
    // A load that did nothing would have no loss.
    ensure!(
        made.execs == 4_000 && made.failed == 4_000,
        "the logins counted {made:?}"
    );
    Ok(made)
}

/// Counts the events of the load in a session. Fails if one is there twice.
fn counted(session: &Recorded) -> Result<Counts> {
    let mut starts: HashMap<ProcessId, usize> = HashMap::new();
    let mut ends: HashMap<ProcessId, usize> = HashMap::new();
    let mut counts = Counts::default();
    for event in &session.events {
        match &event.kind {
            EventKind::Exec(exec) if exec.argv == PROGRAM.map(|item| item.as_bytes().to_vec()) => {
                counts.execs += 1;
                *starts.entry(event.process).or_default() += 1;
            }
            EventKind::ExecFailed { exec, .. } if exec.filename == MISSING => {
                counts.failed += 1;
                *starts.entry(event.process).or_default() += 1;
            }
            EventKind::Exit(_) => *ends.entry(event.process).or_default() += 1,
            _ => {}
        }
    }
    let twice = |found: &HashMap<ProcessId, usize>| {
        let twice = found.iter().filter(|(_, count)| **count > 1);
        twice.map(|(process, _)| *process).collect::<Vec<_>>()
    };
    let (started, ended) = (twice(&starts), twice(&ends));
    ensure!(
        started.is_empty() && ended.is_empty(),
        "{} processes have two records of one exec, and {} two of one exit",
        started.len(),
        ended.len()
    );
    counts.exits = starts
        .keys()
        .filter(|process| ends.contains_key(*process))
        .count();
    Ok(counts)
}

/// Returns how often a probe was skipped so that an event is lost, by a status that is written from now on.
fn skipped_by_now() -> Result<u64> {
    let now = wall_now();
    let mut skipped = None;
    let is_written = eventually(PATIENCE, || {
        let status = status::read(Path::new(RUN))?;
        skipped = status.probe_skipped;
        Ok(status.written_at.time() > now)
    })?;
    ensure!(is_written, "no status is written");
    let (skipped, _) = skipped.context("the status has no count")?;
    Ok(skipped)
}

/// Waits until both sessions are closed. Their gaps are in the record by then, so these are read with them and not once more.
fn closed() -> Result<Vec<Recorded>> {
    let mut sessions = Vec::new();
    let are_closed = eventually(PATIENCE, || {
        sessions = read(Path::new(SPOOL), &Filter::All)?;
        let mut open = sessions
            .iter()
            .filter(|session| session.session.closed.is_none());
        Ok(sessions.len() == SERIALS.len() && open.next().is_none())
    })?;
    ensure!(are_closed, "not all sessions are closed");
    Ok(sessions)
}

fn start_login(serial: u64) -> Result<Child> {
    let login = Command::new(std::env::current_exe()?)
        .args(["--login", &serial.to_string()])
        .stdin(Stdio::null())
        .spawn();
    login.context("cannot start a login")
}
