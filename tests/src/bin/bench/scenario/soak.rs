//! An hour of load: memory must not grow.

use std::time::{Duration, Instant};

use anyhow::Result;
use vctl_tests::lab::Options;
use vctl_tests::load::process_cost::Memory;
use vctl_tests::load::stats::u64_as_f64;

use crate::report::Findings;
use crate::rig::{Bench, LoadArguments, MIB};

const PER_SECOND: u32 = 800;
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let options = Options {
        // A small limit, so that the agent also drops segments.
        agent: vec![("spool_cap", "256MiB".to_owned())],
        ..Options::default()
    };
    let rig = bench.rig(&options)?;
    let agent = rig.agent_pid()?;
    let end = Instant::now() + Duration::from_mins(bench.full_or_short(bench.minutes, 1));
    let mut resident_mib = Vec::new();
    let mut serial = 0;
    // Many sessions, because a leak is most likely per session.
    while Instant::now() < end {
        serial += 1;
        let certificate = rig.lab.certificate("soak", serial)?;
        let arguments = LoadArguments::default()
            .with("rate", PER_SECOND)
            .with("seconds", SAMPLE_EVERY.as_secs());
        rig.load_in_session(&certificate, &arguments)?.wait()?;
        resident_mib.push(u64_as_f64(Memory::read(agent)?.without_ring()) / MIB);
    }
    // The first sixth is left out, because buffers still grow.
    let warm = resident_mib
        .get(resident_mib.len() / 6)
        .copied()
        .unwrap_or_default();
    let last = resident_mib.last().copied().unwrap_or_default();
    let most = resident_mib.iter().copied().fold(0.0, f64::max);
    findings.at_most("memory under load, without the ring", most, "MiB", 32.0);
    findings.at_most("growth after warming up", last - warm, "MiB", 1.0);
    findings.state("sessions", u64_as_f64(serial), "");
    findings.keep("resident_mib", &resident_mib)?;
    Ok(findings)
}
