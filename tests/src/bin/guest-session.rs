//! `guest-session`: two logins in a small guest without sshd, and a comparison of the record with what they wrote.
//!
//! The login runs the PAM hook itself, as sshd does. Its processes write the truth. One line on stdout is the result.
#![allow(clippy::print_stdout, reason = "its stdout is the result")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use vctl_common::event::{EventKind, ExitStatus};
use vctl_common::spool::Filter;
use vctl_tests::fixture::{exec_of, identity, is_process};
use vctl_tests::lab::{PATIENCE, Recorded, eventually, read};
use vctl_tests::load::guest::{PINS, await_failed_execs, log_in, start_agent};
use vctl_tests::truth::{self, CASE, FILE, Running, Truth};

const TRUTH: &str = "/tmp/truth";
const SPOOL: &str = "/var/lib/vctl/spool";

/// Work of one login. Each line writes the truth about itself.
const WORK: &str = "
exec-target one 'two words' ''
setsid exec-target new-session
( exec-target double-fork & )
odd-exec memfd /bin/exec-target from-memory
odd-exec thread /bin/exec-target from-a-thread
odd-exec fail /no/such/program an-argument ''
odd-exec too-big /bin/exec-target
odd-exit matrix 3 exit=0 exit=7 exit-group=3 signal=9 signal=15 leader-first=4
for i in $(seq 40); do exec-target loop $i; done
";

/// Compare the record of two logins with what they wrote
#[derive(Debug, Parser)]
struct Options {
    /// Expect that failed execs are missing, because this guest has no probes that see them
    #[arg(long)]
    without_failed_execs: bool,
    /// Serial of the certificate; this process becomes its login
    #[arg(long, hide = true)]
    login: Option<u64>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    match options.login {
        Some(serial) => log_in(serial, WORK),
        None => compare(options.without_failed_execs),
    }
}

fn compare(is_without_failed: bool) -> Result<()> {
    fs::write(TRUTH, "")?;
    let mut agent = start_agent()?;
    await_failed_execs(Path::new(PINS))?;
    let serials = [12_u64, 13];
    let logins = serials.map(start_login);
    for login in logins {
        let status = login?.wait()?;
        ensure!(status.success(), "a login ended with {status}");
    }
    let mut sessions = Vec::new();
    let closed = eventually(PATIENCE, || {
        sessions = read(Path::new(SPOOL), &Filter::All)?;
        let mut open = sessions
            .iter()
            .filter(|session| session.session.closed.is_none());
        Ok(sessions.len() == serials.len() && open.next().is_none())
    })?;
    ensure!(closed, "not all sessions are closed: {}", shown(&sessions));
    let truths = truth::read(Path::new(TRUTH))?;
    let mut counts = [0; 3];
    for session in &sessions {
        session.ensure_whole()?;
        let certificate = session.session.opened.auth.certificate.as_ref();
        let serial = certificate.and_then(|certificate| certificate.serial);
        let serial = serial.context("a session has no serial")?.to_string();
        for truth in &truths {
            let index = match truth {
                Truth::Running(running) => {
                    let is_own = running.case == serial;
                    check_exec(session, running, is_own)?;
                    0
                }
                Truth::Failed { .. } => 1,
                Truth::Ended { .. } => 2,
            };
            counts[index] += usize::from(is_in(session, truth, is_without_failed)?);
        }
    }
    let told = |is_kind: fn(&Truth) -> bool| truths.iter().filter(|truth| is_kind(truth)).count();
    let failed = told(|truth| matches!(truth, Truth::Failed { .. }));
    let expected = [
        told(|truth| matches!(truth, Truth::Running(_))),
        if is_without_failed { 0 } else { failed },
        told(|truth| matches!(truth, Truth::Ended { .. })),
    ];
    // Without the second check a load that did nothing would pass.
    ensure!(
        counts == expected,
        "recorded {counts:?} instead of {expected:?}: {}",
        shown(&sessions)
    );
    ensure!(
        expected[0] == 90 && failed == 4 && expected[2] == 36,
        "the logins wrote {expected:?}, {failed}"
    );
    agent.kill()?;
    agent.wait()?;
    println!(
        "@@recorded {} sessions, {} execs, {} failed execs and {} exits as the processes wrote them",
        sessions.len(),
        counts[0],
        counts[1],
        counts[2]
    );
    Ok(())
}

fn start_login(serial: u64) -> Result<Child> {
    let login = Command::new(std::env::current_exe()?)
        .args(["--login", &serial.to_string()])
        .env(FILE, TRUTH)
        .env(CASE, serial.to_string())
        .stdin(Stdio::null())
        .spawn();
    login.context("cannot start a login")
}

/// Checks that a process is in the session of its login and in no other, with its arguments and its program.
fn check_exec(session: &Recorded, running: &Running, is_own: bool) -> Result<()> {
    let Some((_, exec)) = exec_of(session, running) else {
        ensure!(
            !is_own,
            "{running:?} is not in its session: {:#?}",
            session.summary()
        );
        return Ok(());
    };
    ensure!(is_own, "{running:?} is in the session of another login");
    ensure!(
        exec.argv == running.argv,
        "{:?} was recorded as {:?}",
        running.argv,
        exec.argv
    );
    let inode = exec.exe.inode;
    ensure!(
        inode == running.exe_inode,
        "inode {} was recorded as {inode}",
        running.exe_inode
    );
    Ok(())
}

/// Returns whether the session has the event of this line.
fn is_in(session: &Recorded, truth: &Truth, is_without_failed: bool) -> Result<bool> {
    match truth {
        Truth::Running(running) => Ok(exec_of(session, running).is_some()),
        Truth::Failed {
            pid,
            start,
            filename,
            argv,
            errno,
            ..
        } => {
            let own = session
                .events
                .iter()
                .filter(|event| is_process(event, *pid, *start));
            let mut failed = own.filter_map(|event| match &event.kind {
                EventKind::ExecFailed { errno, exec } => Some((*errno, exec)),
                _ => None,
            });
            let Some((recorded, exec)) = failed.next() else {
                return Ok(false);
            };
            ensure!(
                !is_without_failed,
                "a failed exec was recorded without its tracepoint"
            );
            ensure!(failed.next().is_none(), "a failed exec was recorded twice");
            let is_cut = argv.iter().map(Vec::len).sum::<usize>() > 1000;
            ensure!(
                recorded.cast_signed() == *errno
                    && exec.filename == *filename
                    && (is_cut || exec.argv == *argv),
                "{truth:?} was recorded as {recorded} {:?} {:?}",
                exec.filename,
                exec.argv
            );
            Ok(true)
        }
        Truth::Ended {
            pid, start, status, ..
        } => {
            let exits = session
                .exits()
                .filter(|(event, _)| identity(event.process) == (*pid, *start));
            let recorded: Vec<_> = exits.map(|(_, exit)| exit.status).collect();
            let expected = ExitStatus::from_wait(status.cast_unsigned());
            match recorded.as_slice() {
                [] => Ok(false),
                [one] if *one == expected => Ok(true),
                other => bail!("{truth:?} was recorded as {other:?}"),
            }
        }
    }
}

fn shown(sessions: &[Recorded]) -> String {
    let summaries: Vec<_> = sessions.iter().map(Recorded::summary).collect();
    format!("{summaries:#?}")
}
