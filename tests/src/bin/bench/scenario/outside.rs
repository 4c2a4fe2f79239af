//! 1,600 exec/s outside of sessions, with one idle session: the agent must not use CPU time.

use std::time::Instant;

use anyhow::{Context as _, Result};
use vctl_tests::lab::Options;
use vctl_tests::load::process_cost::ProcessCost;

use crate::report::Findings;
use crate::rig::{Bench, LoadArguments, settle};
use crate::stored;

const PER_SECOND: u32 = 1600;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let rig = bench.rig(&Options::default())?;
    let certificate = rig.lab.certificate("idle", 1)?;
    let idle = rig.idle_session(&certificate)?;
    settle();
    let agent = rig.agent_pid()?;
    let events = || -> Result<u64> {
        let session = stored::list(&rig)?.into_iter().next();
        Ok(session
            .context("the idle session is not stored")?
            .events_stored)
    };
    let (events_before, before, begin) = (events()?, ProcessCost::read(agent)?, Instant::now());
    let arguments = LoadArguments::default()
        .with("rate", PER_SECOND)
        .with("workers", 2)
        .with("seconds", bench.full_or_short(60, 10));
    let done = rig.load_outside(&arguments)?.wait()?;
    let cost = ProcessCost::read(agent)?.since(before);
    let cpu = cost.cpu_percent(begin.elapsed());
    drop(idle);
    let recorded = events()?.saturating_sub(events_before);
    findings.state("exec rate reached", done.outcome.per_second, "exec/s");
    // The end of the idle session is one exit.
    findings.exactly(
        "records of outside processes",
        recorded.saturating_sub(1),
        "records",
        0,
    );
    findings.at_most("agent CPU", cpu, "% of a CPU", 0.1);
    findings.keep("load", &done.outcome)?;
    findings.keep("agent_cost", &cost)?;
    Ok(findings)
}
