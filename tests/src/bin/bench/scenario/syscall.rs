//! Cost of an open session for the system calls of a process outside of all sessions.
//!
//! Where the kernel runs no probes at the exit of exec, the probes for failed execs run on system calls. The agent
//! attaches them with the first session and detaches them some time after the last one, so each round starts a separate
//! agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::unistd::getppid;
use serde::Serialize;
use vctl_tests::load::bpf_cost::{BpfCost, RunTimeStats};
use vctl_tests::load::stats::{median, u64_as_f64};

use crate::report::Findings;
use crate::rig::{Bench, Rig, wait_for};

/// System calls of one sample.
const CALLS: u32 = 100_000;

/// The program that runs at the end of every system call.
const PROGRAM: &str = "compat_failed";

/// Nanoseconds of one call, by round.
#[derive(Debug, Default, Serialize)]
struct PerCall {
    without_session_ns: Vec<f64>,
    with_session_ns: Vec<f64>,
}

/// Starts and ends agents. No other agent may run.
pub(super) fn run(bench: &Bench, rig: &mut Rig, findings: &mut Findings) -> Result<()> {
    let pins = pin_directory(rig)?;
    let samples = bench.full_or_short(60, 30);
    let mut per_call = PerCall::default();
    for round in 0..bench.full_or_short(15, 7) {
        per_call.without_session_ns.push(nanoseconds(samples));
        rig.lab.agent.start()?;
        let certificate = rig.lab.certificate("syscall", 4000 + round)?;
        let idle = rig.idle_session(&certificate)?;
        await_probes(&pins)?;
        per_call.with_session_ns.push(nanoseconds(samples));
        drop(idle);
        rig.detach()?;
    }
    let without = median(&per_call.without_session_ns);
    let with = median(&per_call.with_session_ns);
    findings.state("a system call, no session open", without, "ns");
    findings.state("a system call, a session open elsewhere", with, "ns");
    findings.state(
        "a system call, a session open / none open",
        with / without,
        "",
    );
    findings.keep("system_call", &per_call)?;
    rig.lab.agent.start()?;
    let certificate = rig.lab.certificate("syscall", 4999)?;
    let idle = rig.idle_session(&certificate)?;
    await_probes(&pins)?;
    let on = RunTimeStats::enable().context("the kernel does not count BPF run time")?;
    let before = BpfCost::read()?;
    nanoseconds(samples);
    let programs = BpfCost::read()?.since(&before).programs;
    drop((on, idle));
    rig.detach()?;
    let program = programs.values().find(|program| program.name == PROGRAM);
    if let Some(program) = program.filter(|program| program.run_count > 0) {
        findings.state(
            "of it in the program for the 32-bit table, with the kernel's own clock",
            u64_as_f64(program.run_time_ns) / u64_as_f64(program.run_count),
            "ns",
        );
    }
    Ok(())
}

/// Returns the time of one call: the median of `samples`.
fn nanoseconds(samples: u32) -> f64 {
    let sample = |_| {
        let begun = Instant::now();
        for _ in 0..CALLS {
            std::hint::black_box(getppid());
        }
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    median(&(0..samples).map(sample).collect::<Vec<_>>())
}

fn pin_directory(rig: &Rig) -> Result<PathBuf> {
    let config = fs::read_to_string(&rig.lab.agent.config)?;
    let directory = config
        .lines()
        .find_map(|line| line.strip_prefix("pin_dir: "));
    Ok(directory.context("the agent has no `pin_dir`")?.into())
}

/// Waits until the agent has attached its probes for failed execs.
fn await_probes(pins: &Path) -> Result<()> {
    let is_pinned = |name: &str| pins.join(format!("link_{name}")).exists();
    let are_attached = || {
        let at_exec = is_pinned("__x64_sys_execve") || is_pinned("__arm64_sys_execve");
        Ok((at_exec || is_pinned("sys_exit_execve")).then_some(()))
    };
    wait_for(
        "attaching the probes",
        Duration::from_secs(30),
        are_attached,
    )?;
    if is_pinned("sys_exit_execve") {
        // This program is attached last, and only on a kernel with a 32-bit table of system calls.
        let are_all = || Ok(is_pinned(PROGRAM).then_some(()));
        let _ = wait_for(PROGRAM, Duration::from_secs(3), are_all);
    }
    Ok(())
}
