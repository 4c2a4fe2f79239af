//! Cost of recording, compared with no watcher, bpftrace and auditd on the same load in one run.

use anyhow::{Context as _, Result};
use serde::Serialize;
use vctl_tests::lab::Options;
use vctl_tests::load::bpf_cost::{BpfCost, RunTimeStats};
use vctl_tests::load::peer::Peer;
use vctl_tests::load::peer::auditd::Auditd;
use vctl_tests::load::peer::bpftrace::Bpftrace;
use vctl_tests::load::process_cost::{Memory, ProcessCost};
use vctl_tests::load::spawn::Outcome;
use vctl_tests::load::stats::{median, u64_as_f64};

use super::syscall;
use crate::report::Findings;
use crate::rig::{Bench, LoadArguments, MIB, Rig, settle};

/// One round: the same loads with each watcher, in turn.
#[derive(Clone, Debug, Serialize)]
struct Round {
    none: Loads,
    agent: Loads,
    bpftrace: Loads,
}

/// Results with two programs.
#[derive(Clone, Debug, Serialize)]
struct Loads {
    /// The child without libc is the cheapest program, so the added cost is most visible.
    bare: Outcome,
    /// `ORDINARY`: a usual program.
    ordinary: Outcome,
}

/// A dynamically linked program that does nothing.
const ORDINARY: &str = "/bin/true";

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let waits = Options {
        agent_waits: true,
        ..Options::default()
    };
    let mut rig = bench.rig(&waits)?;
    let rounds = spawn_latency(bench, &mut rig, &mut findings)?;
    syscall::run(bench, &mut rig, &mut findings)?;
    rig.lab.agent.start()?;
    in_kernel(bench, &rig, &mut findings)?;
    let per_pair = agent_cpu(bench, &rig, &mut findings)?;
    rig.detach()?;
    if bench.auditd {
        // The last scenario, because audit slows every later task of this boot once it is enabled.
        beside_auditd(bench, &rig, &rounds, per_pair, &mut findings)?;
    }
    Ok(findings)
}

fn spawn_latency(bench: &Bench, rig: &mut Rig, findings: &mut Findings) -> Result<Vec<Round>> {
    let load = LoadArguments::default().with("count", bench.full_or_short(4000, 500));
    let ordinary = load.clone().with("child", ORDINARY);
    let outside = |rig: &Rig| -> Result<Loads> {
        Ok(Loads {
            bare: rig.load_outside(&load)?.wait()?.outcome,
            ordinary: rig.load_outside(&ordinary)?.wait()?.outcome,
        })
    };
    let mut rounds = Vec::new();
    for number in 0..bench.full_or_short(21, 3) {
        // Interleaved, so that other load of the machine affects all in the same way.
        let none = outside(rig)?;
        rig.lab.agent.start()?;
        let certificate = rig.lab.certificate("cost", 1000 + number)?;
        let in_session = |load| -> Result<Outcome> {
            Ok(rig.load_in_session(&certificate, load)?.wait()?.outcome)
        };
        let agent = Loads {
            bare: in_session(&load)?,
            ordinary: in_session(&ordinary)?,
        };
        rig.detach()?;
        let peer = Bpftrace::start(&bench.directory("bpftrace-")?)?;
        let bpftrace = outside(rig)?;
        drop(peer);
        rounds.push(Round {
            none,
            agent,
            bpftrace,
        });
    }
    let bare = |loads: &Loads| loads.bare.spawn_wait_ns.p50;
    let ordinary = |loads: &Loads| loads.ordinary.spawn_wait_ns.p50;
    state_added(findings, &rounds, "", bare);
    state_added(findings, &rounds, " (ordinary program)", ordinary);
    findings.keep("rounds", &rounds)?;
    Ok(rounds)
}

/// Reports the time of a spawn and the time that each watcher adds, for one of the two programs.
fn state_added(
    findings: &mut Findings,
    rounds: &[Round],
    program: &str,
    p50: impl Fn(&Loads) -> f64,
) {
    let none = median_of(rounds, |round| p50(&round.none));
    let agent = median_of(rounds, |round| p50(&round.agent) - p50(&round.none));
    let bpftrace = median_of(rounds, |round| p50(&round.bpftrace) - p50(&round.none));
    let figure = |name: &str| format!("{name}{program}");
    findings.state(
        &figure("spawn + wait, nothing watching, p50"),
        none / 1e3,
        "µs",
    );
    findings.state(&figure("added by the agent, p50"), agent / 1e3, "µs");
    findings.state(&figure("added by bpftrace, p50"), bpftrace / 1e3, "µs");
    findings.at_most(
        &figure("added by the agent, of the spawn"),
        100.0 * agent / none,
        "%",
        3.0,
    );
}

/// Nanoseconds per run of the probes at one length of argv. The values are medians over rounds, because an interrupt
/// inside a probe counts as time of the probe.
#[derive(Debug, Serialize)]
struct AtLength {
    argv_bytes: usize,
    exec_ns: f64,
    exit_ns: f64,
    fork_ns: f64,
    rounds: Vec<BpfCost>,
}

fn in_kernel(bench: &Bench, rig: &Rig, findings: &mut Findings) -> Result<()> {
    let _on = RunTimeStats::enable().context("the kernel does not count BPF run time")?;
    let mut lengths = Vec::new();
    for argv_bytes in [64, 1024, 16 * 1024, 128 * 1024] {
        lengths.push(at_length(bench, rig, argv_bytes)?);
    }
    for length in &lengths {
        let name = format!(
            "in the kernel per exec, argv of {} bytes",
            length.argv_bytes
        );
        if length.argv_bytes == 64 {
            findings.at_most(&name, length.exec_ns / 1e3, "µs", 1.5);
            findings.at_most("in the kernel per exit", length.exit_ns / 1e3, "µs", 0.45);
            findings.state("in the kernel per fork", length.fork_ns / 1e3, "µs");
        } else {
            findings.state(&name, length.exec_ns / 1e3, "µs");
        }
    }
    findings.keep("in_kernel", &lengths)
}

fn at_length(bench: &Bench, rig: &Rig, argv_bytes: usize) -> Result<AtLength> {
    let load = LoadArguments::default()
        .with("count", bench.full_or_short(2000, 500))
        .with("argv-bytes", argv_bytes);
    let mut rounds = Vec::new();
    for _ in 0..bench.full_or_short(11, 3) {
        let certificate = rig.lab.certificate("in-kernel", 2000)?;
        let before = BpfCost::read()?;
        rig.load_in_session(&certificate, &load)?.wait()?;
        rounds.push(BpfCost::read()?.since(&before));
    }
    let median_of = |hook: &str| {
        median(
            &rounds
                .iter()
                .map(|cost| hook_ns(cost, hook))
                .collect::<Vec<_>>(),
        )
    };
    Ok(AtLength {
        argv_bytes,
        exec_ns: median_of("exec"),
        exit_ns: median_of("exit"),
        fork_ns: median_of("fork"),
        rounds,
    })
}

/// Run time of all programs of one hook, per run. A program that did not run adds nothing.
fn hook_ns(cost: &BpfCost, hook: &str) -> f64 {
    let of = |name: &str| {
        ["exec", "exit", "fork"]
            .into_iter()
            .find(|hook| name.contains(hook))
    };
    let programs = cost.programs.values();
    let ran = programs.filter(|program| of(&program.name) == Some(hook) && program.run_count > 0);
    ran.map(|program| u64_as_f64(program.run_time_ns) / u64_as_f64(program.run_count))
        .sum()
}

/// CPU time of the agent per exec and exit pair in nanoseconds, spool included. It is measured at full speed, as for
/// bpftrace and auditd, and at the rate of a busy host, where each read of the ring finds fewer events.
fn agent_cpu(bench: &Bench, rig: &Rig, findings: &mut Findings) -> Result<f64> {
    let agent = rig.agent_pid()?;
    let mut per_pair = Vec::new();
    for (name, load) in [("full speed", full_speed(bench)), ("1,600/s", paced(bench))] {
        let certificate = rig.lab.certificate("cpu", 3000)?;
        let before = ProcessCost::read(agent)?;
        let done = rig.load_in_session(&certificate, &load)?.wait()?;
        let memory = Memory::read(agent)?;
        settle();
        let cost = ProcessCost::read(agent)?.since(before);
        per_pair.push(u64_as_f64(cost.on_cpu_ns) / u64_as_f64(done.outcome.spawned));
        let kept = (cost, done.outcome, memory);
        findings.keep(&format!("agent_cost at {name}"), &kept)?;
        let memory = u64_as_f64(memory.without_ring()) / MIB;
        let figure = format!("memory at {name}, without the ring");
        findings.at_most(&figure, memory, "MiB", 32.0);
    }
    let [full, paced] = per_pair.as_slice() else {
        anyhow::bail!("two loads have two costs");
    };
    findings.at_most(
        "agent CPU per exec+exit pair, full speed",
        full / 1e3,
        "µs",
        5.0,
    );
    findings.state("agent CPU per exec+exit pair, 1,600/s", paced / 1e3, "µs");
    Ok(*full)
}

fn beside_auditd(
    bench: &Bench,
    rig: &Rig,
    rounds: &[Round],
    agent_per_pair: f64,
    findings: &mut Findings,
) -> Result<()> {
    let load = LoadArguments::default().with("count", bench.full_or_short(4000, 500));
    let p50_of = |loads: &Loads| loads.bare.spawn_wait_ns.p50;
    let baseline = median_of(rounds, |round| p50_of(&round.none));
    let auditd = Auditd::start(&bench.directory("auditd-")?)?;
    let mut p50 = Vec::new();
    for _ in 0..bench.full_or_short(21, 3) {
        p50.push(rig.load_outside(&load)?.wait()?.outcome.spawn_wait_ns.p50);
    }
    let before = auditd.cost()?;
    let done = rig.load_outside(&full_speed(bench))?.wait()?;
    settle();
    let cost = auditd.cost()?.since(before);
    drop(auditd);
    let added = median(&p50) - baseline;
    let agent = median_of(rounds, |round| p50_of(&round.agent) - p50_of(&round.none));
    let per_exec = u64_as_f64(cost.on_cpu_ns) / u64_as_f64(done.outcome.spawned);
    findings.state("added by auditd, p50", added / 1e3, "µs");
    findings.at_most(
        "added by the agent, of auditd's",
        agent / added,
        "",
        1.0 / 15.0,
    );
    findings.state("auditd + kauditd CPU per exec", per_exec / 1e3, "µs");
    findings.at_most(
        "agent CPU per pair, of auditd's",
        agent_per_pair / per_exec,
        "",
        1.0 / 20.0,
    );
    findings.keep("auditd_p50_ns", &p50)?;
    findings.keep("auditd_cost", &cost)?;
    findings.keep("auditd_load", &done.outcome)
}

fn full_speed(bench: &Bench) -> LoadArguments {
    LoadArguments::default().with("count", bench.full_or_short(30_000, 3000))
}

/// The rate of a busy host. The time is long enough for a useful value of the CPU time.
fn paced(bench: &Bench) -> LoadArguments {
    LoadArguments::default()
        .with("rate", 1600)
        .with("workers", 2)
        .with("seconds", bench.full_or_short(30, 5))
}

fn median_of(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    median(&rounds.iter().map(value).collect::<Vec<_>>())
}
