//! Response time of `vctl` on a warm machine.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::{Summary, u64_as_f64};

use crate::report::Findings;
use crate::rig::{Bench, MIB};

const EVENTS: u64 = 1_000_000;
const IN_SESSION: u64 = 100;
/// Serial of a session in the middle of the spool.
const SERIAL: &str = "5000";

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let programs = Programs::find()?;
    let rounds = bench.full_or_short(200, 20);
    let version = times(rounds, || {
        let mut command = Command::new(&programs.vctl);
        command.arg("--version");
        command
    })?;
    findings.at_most("vctl --version, p50", version.p50, "ms", 5.0);
    findings.keep("version_ms", &version)?;
    let ssh = times(rounds, || {
        let mut command = Command::new("ssh");
        command.arg("-V");
        command
    })?;
    findings.state("ssh -V beside it, p50", ssh.p50, "ms");
    findings.keep("ssh_version_ms", &ssh)?;

    let spool = bench.directory("spool-")?;
    fill(&programs, &spool)?;
    let mut stored = 0;
    for entry in spool.read_dir()? {
        stored += entry?.metadata()?.len();
    }
    let lookup = times(rounds, || {
        let mut command = Command::new(&programs.vctl);
        command
            .args(["session", "--local", "--spool"])
            .arg(&spool)
            .arg(SERIAL);
        command
    })?;
    findings.at_most("vctl session --local <serial>, p50", lookup.p50, "ms", 10.0);
    findings.state("vctl session --local <serial>, p99", lookup.p99, "ms");
    findings.state("spool read", u64_as_f64(stored) / MIB, "MiB");
    findings.keep("session_ms", &lookup)?;
    Ok(findings)
}

/// Writes a spool of a million events, a hundred for each session, with the agent's own writer.
fn fill(programs: &Programs, spool: &Path) -> Result<()> {
    let example = programs.directory.join("examples/synthetic_spool");
    let output = Command::new(&example)
        .arg(spool)
        .args([EVENTS.to_string(), (EVENTS / IN_SESSION).to_string()])
        .output()
        .with_context(|| format!("cannot run `{}`", example.display()))?;
    ensure!(
        output.status.success(),
        "`{}` failed: {}",
        example.display(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// Measures whole processes from before the spawn to after the wait, in milliseconds.
fn times(rounds: u32, command: impl Fn() -> Command) -> Result<Summary> {
    let mut samples = Vec::new();
    for _ in 0..rounds {
        let mut command = command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let begin = Instant::now();
        let status = command
            .status()
            .with_context(|| format!("cannot run {command:?}"))?;
        samples.push(begin.elapsed().as_secs_f64() * 1e3);
        ensure!(status.success(), "{command:?} ended with {status}");
    }
    Ok(Summary::of(samples))
}
