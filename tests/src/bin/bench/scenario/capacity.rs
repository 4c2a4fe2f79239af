//! Number of exec and exit pairs that the ring holds while the agent does not read it.

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use vctl_tests::lab::Options;
use vctl_tests::load::compare::compare;
use vctl_tests::load::stats::u64_as_f64;

use crate::report::Findings;
use crate::rig::{Bench, LoadArguments, wait_for_stamp};
use crate::stored;

const SERIAL: u64 = 40_000;
/// More than the default ring holds, so that the ring overflows.
const PAIRS: u32 = 70_000;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let rig = bench.rig(&Options::default())?;
    let certificate = rig.lab.certificate("capacity", SERIAL)?;
    let hold = rig.directory.join("hold");
    let arguments = LoadArguments::default()
        .with("count", PAIRS)
        .with("workers", 2)
        .with("argv-bytes", 64)
        .with("hold", hold.display());
    let load = rig.load_in_session(&certificate, &arguments)?;
    wait_for_stamp(&hold)?;
    rig.lab.agent.signal(Signal::SIGSTOP)?;
    std::fs::remove_file(&hold)?;
    let done = load.wait();
    // The agent must continue also when the load failed. Otherwise the later steps would hang.
    rig.lab.agent.signal(Signal::SIGCONT)?;
    let done = done?;
    let session = stored::closed_session(&rig, SERIAL)?;
    let difference = compare(&done.rows, session.against_ledger(done.leader)?);
    let truth = 2 * difference.rows + 1;
    let lost = truth.saturating_sub(session.events.len() as u64);
    let reported = session
        .missing()
        .context("the session does not say how many are missing")?;
    // The ring fills once and is not read meanwhile, so it has all pairs before the first gap.
    let held = session.pairs_before_first_hole();
    findings.at_least(
        "pairs until the first loss",
        u64_as_f64(held),
        "pairs",
        40_000.0,
    );
    findings.state("events lost after it", u64_as_f64(lost), "events");
    findings.exactly(
        "difference of lost and reported",
        reported.abs_diff(lost),
        "events",
        0,
    );
    findings.keep("difference", &difference)?;
    findings.keep("load", &done.outcome)?;
    Ok(findings)
}
