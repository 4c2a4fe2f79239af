//! Cost of an idle agent, and its start time.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use vctl_tests::centre::Centre;
use vctl_tests::lab::Options;
use vctl_tests::load::bpf_cost::BpfCost;
use vctl_tests::load::process_cost::{Memory, ProcessCost};
use vctl_tests::load::stats::{Summary, u64_as_f64};

use crate::report::Findings;
use crate::rig::{Bench, MIB, Rig, settle};

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let before = BpfCost::read()?;
    let mut rig = bench.rig(&Options::default())?;
    let objects = BpfCost::read()?.without(&before);
    let quiet = Quiet::measure(bench, &rig)?;
    findings.at_most(
        "wake-ups with an idle session",
        quiet.wakeups,
        "per second",
        2.0,
    );
    findings.at_most(
        "CPU with an idle session",
        quiet.cpu_percent,
        "% of a CPU",
        0.1,
    );
    findings.at_most(
        "memory idle, without the ring",
        quiet.resident_mib,
        "MiB",
        16.0,
    );
    findings.state(
        "memory of maps and ring",
        u64_as_f64(objects.map_bytes()) / MIB,
        "MiB",
    );
    findings.keep("quiet", &quiet)?;
    findings.keep("bpf", &objects)?;

    let mut ready_ms = Vec::new();
    for _ in 0..bench.full_or_short(20, 3) {
        rig.lab.agent.stop()?;
        let begin = Instant::now();
        rig.lab.agent.start()?;
        ready_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let again = Summary::of(ready_ms.clone());
    findings.at_most("start to ready, taking over, p50", again.p50, "ms", 100.0);
    findings.keep("ready_again_ms", &ready_ms)?;
    let mut first_ms = Vec::new();
    for _ in 0..bench.full_or_short(20, 3) {
        rig.lab.agent.stop()?;
        rig.lab.agent.run("detach", &[])?;
        let begin = Instant::now();
        rig.lab.agent.start()?;
        first_ms.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let first = Summary::of(first_ms.clone());
    findings.at_most(
        "start to ready, loading the probe, p50",
        first.p50,
        "ms",
        100.0,
    );
    findings.keep("ready_first_ms", &first_ms)?;
    drop(rig);

    // The same on a host that ships, after all its events are shipped.
    let centre = Centre::start(&vctl_tests::centre::Options::default())?;
    let host = centre.enroll("bench-idle")?;
    let rig = bench.rig(&Options {
        agent: centre.agent_keys(&host, &bench.directory("idle-")?)?,
        ..Options::default()
    })?;
    let ships = Quiet::measure(bench, &rig)?;
    findings.at_most(
        "wake-ups of a host that ships",
        ships.wakeups,
        "per second",
        2.0 * 2.0,
    );
    findings.at_most(
        "CPU of a host that ships",
        ships.cpu_percent,
        "% of a CPU",
        0.2,
    );
    findings.state(
        "memory of a host that ships, without the ring",
        ships.resident_mib,
        "MiB",
    );
    findings.keep("quiet_and_ships", &ships)?;
    Ok(findings)
}

/// Cost of an agent whose only session does nothing.
#[derive(Serialize)]
struct Quiet {
    wakeups: f64,
    cpu_percent: f64,
    resident_mib: f64,
}

impl Quiet {
    fn measure(bench: &Bench, rig: &Rig) -> Result<Self> {
        let certificate = rig.lab.certificate("idle", 1)?;
        let idle = rig.idle_session(&certificate)?;
        settle();
        let agent = rig.agent_pid()?;
        let (cost, begin) = (ProcessCost::read(agent)?, Instant::now());
        std::thread::sleep(Duration::from_secs(bench.full_or_short(60, 5)));
        let (cost, elapsed) = (ProcessCost::read(agent)?.since(cost), begin.elapsed());
        let memory = Memory::read(agent)?;
        drop(idle);
        Ok(Self {
            wakeups: u64_as_f64(cost.voluntary_switches) / elapsed.as_secs_f64(),
            cpu_percent: cost.cpu_percent(elapsed),
            resident_mib: u64_as_f64(memory.without_ring()) / MIB,
        })
    }
}
