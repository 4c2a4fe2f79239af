//! Kills the agent every five seconds under load. All events must be stored, and stored once.

use std::time::{Duration, Instant};

use anyhow::Result;
use vctl_tests::lab::Options;
use vctl_tests::load::compare::compare;
use vctl_tests::load::stats::u64_as_f64;

use crate::report::Findings;
use crate::rig::{Bench, LoadArguments};
use crate::stored;

const PER_SECOND: u32 = 500;
const SERIAL: u64 = 9;
const EVERY: Duration = Duration::from_secs(5);

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut rig = bench.rig(&Options::default())?;
    let certificate = rig.lab.certificate("kill9", SERIAL)?;
    let seconds = bench.full_or_short(300, 20);
    let arguments = LoadArguments::default()
        .with("rate", PER_SECOND)
        .with("seconds", seconds);
    let load = rig.load_in_session(&certificate, &arguments)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut kills = 0;
    while Instant::now() + EVERY < end {
        std::thread::sleep(EVERY);
        rig.lab.agent.kill()?;
        kills += 1;
        rig.lab.agent.start()?;
    }
    let done = load.wait()?;
    let session = stored::closed_session(&rig, SERIAL)?;
    let difference = compare(&done.rows, session.against_ledger(done.leader)?);
    findings.state("kills", u64_as_f64(kills), "");
    findings.state("exec rate reached", done.outcome.per_second, "exec/s");
    findings.exactly("events missing", difference.missing(), "events", 0);
    findings.exactly("events twice", difference.duplicated, "events", 0);
    findings.exactly("events wrong", difference.wrong, "events", 0);
    findings.exactly("session complete", u64::from(session.complete), "", 1);
    findings.keep("difference", &difference)?;
    findings.keep("load", &done.outcome)?;
    Ok(findings)
}
