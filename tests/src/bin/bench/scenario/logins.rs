//! A thousand logins over real sshd: each has a session with the right serial, and a fast stamp.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use vctl_tests::lab::{Certificate, Options, Programs};
use vctl_tests::load::stats::{Summary, u64_as_f64};

use crate::report::Findings;
use crate::rig::{Bench, Rig};
use crate::stored::{self, Session};

/// Logins at a time: the number of CPUs of this class of machine, so that logins do not wait for each other.
const AT_A_TIME: usize = 2;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let logins = bench.full_or_short(1000, 40);
    let stopwatch = Programs::find()?.directory.join("stopwatch");
    let times = bench.directory("stopwatch-")?.join("times");
    let options = Options {
        stopwatch: Some((stopwatch, times.clone())),
        ..Options::default()
    };
    let rig = bench.rig(&options)?;
    let certificates = (1..=logins)
        .map(|serial| rig.lab.certificate(&format!("person-{serial}"), serial))
        .collect::<Result<Vec<_>>>()?;
    log_in(&rig, &certificates)?;
    let sessions = stored::all_closed(&rig, certificates.len())?;
    let right = sessions.iter().filter(|session| session.complete).count();
    findings.exactly("sessions", sessions.len() as u64, "sessions", logins);
    findings.exactly(
        "sessions that are complete",
        right as u64,
        "sessions",
        logins,
    );
    let exact = exact_sessions(&rig, &certificates)?;
    findings.exactly(
        "serials with their own exec and exit",
        exact,
        "serials",
        logins,
    );
    let stamps = stamp_times(&times)?;
    ensure!(
        stamps.len() == certificates.len(),
        "{} hooks ran",
        stamps.len()
    );
    let stamp = Summary::of(stamps.clone());
    findings.at_most("stamp, start to exit, p50", stamp.p50, "ms", 5.0);
    findings.at_most("stamp, start to exit, p99", stamp.p99, "ms", 20.0);
    findings.keep("stamp_ms", &stamps)?;
    Ok(findings)
}

fn log_in(rig: &Rig, certificates: &[Certificate]) -> Result<()> {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let people: Vec<_> = (0..AT_A_TIME)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let turn = usize::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                        let Some(certificate) = certificates.get(turn) else {
                            return Ok(());
                        };
                        log_in_once(rig, certificate)?;
                    }
                })
            })
            .collect();
        people.into_iter().try_for_each(|person| {
            person
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// Runs `ssh host true` with the file, because the `true` of the shell does not cause an exec.
fn log_in_once(rig: &Rig, certificate: &Certificate) -> Result<()> {
    let status = rig
        .lab
        .ssh_command(certificate, rig.lab.user())
        .arg(format!("/bin/true {}", nonce(certificate)))
        .stdin(Stdio::null())
        .status()
        .context("cannot run `ssh`")?;
    ensure!(
        status.success(),
        "the login with serial {} ended with {status}",
        certificate.serial
    );
    Ok(())
}

fn nonce(certificate: &Certificate) -> String {
    format!("login-{}", certificate.serial)
}

/// Number of serials with exactly one session that holds their own command once, its exit, and no other command.
fn exact_sessions(rig: &Rig, certificates: &[Certificate]) -> Result<u64> {
    let mut exact = 0;
    for certificate in certificates {
        let sessions = stored::of_serial(rig, certificate.serial)?;
        let [session] = sessions.as_slice() else {
            continue;
        };
        exact += u64::from(holds_only(session, &nonce(certificate)));
    }
    Ok(exact)
}

fn holds_only(session: &Session, nonce: &str) -> bool {
    let commands = session
        .execs()
        .filter(|(argv, _)| argv.first().is_some_and(|item| item == "/bin/true"));
    let commands: Vec<_> = commands.collect();
    match commands.as_slice() {
        [(argv, process)] => {
            argv.get(1).is_some_and(|item| item == nonce) && session.exit_of(*process) == Some(0)
        }
        _ => false,
    }
}

/// Milliseconds from the start to the exit of the hook of each login.
fn stamp_times(file: &Path) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(file)?;
    // Keyed by PAM type, parent and pid of the hook. A pid that is used again starts a new entry.
    let mut running: HashMap<&str, u64> = HashMap::new();
    let mut stamps = Vec::new();
    for line in text.lines() {
        let (rest, at) = line.rsplit_once(' ').context("a short line")?;
        let (label, hook) = rest.split_once(' ').context("a short line")?;
        let at = at.parse()?;
        if !hook.starts_with("open_session ") {
            continue;
        }
        if label == "begin" {
            running.insert(hook, at);
        } else {
            let begin = running.remove(hook).context("an end without a start")?;
            stamps.push(u64_as_f64(at - begin) / 1e6);
        }
    }
    Ok(stamps)
}
