//! 1,600 exec/s inside a session for ten minutes: all events are stored. When a small ring loses events, the session
//! reports their exact number.

use anyhow::{Context as _, Result};
use vctl_tests::lab::Options;
use vctl_tests::load::compare::compare;
use vctl_tests::load::stats::u64_as_f64;

use crate::report::Findings;
use crate::rig::{Bench, LoadArguments};
use crate::stored;

const PER_SECOND: u32 = 1600;
const SERIAL: u64 = 1600;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    nothing_is_lost(bench, &mut findings)?;
    a_loss_is_told(bench, &mut findings)?;
    Ok(findings)
}

fn nothing_is_lost(bench: &Bench, findings: &mut Findings) -> Result<()> {
    let rig = bench.rig(&Options::default())?;
    let certificate = rig.lab.certificate("sustained", SERIAL)?;
    let arguments = LoadArguments::default()
        .with("rate", PER_SECOND)
        .with("workers", 2)
        .with("seconds", bench.full_or_short(600, 20));
    let done = rig.load_in_session(&certificate, &arguments)?.wait()?;
    let session = stored::closed_session(&rig, SERIAL)?;
    let difference = compare(&done.rows, session.against_ledger(done.leader)?);
    findings.state("exec rate reached", done.outcome.per_second, "exec/s");
    findings.exactly("events missing", difference.missing(), "events", 0);
    findings.exactly("events twice", difference.duplicated, "events", 0);
    findings.exactly("events wrong", difference.wrong, "events", 0);
    findings.exactly("events of nobody", difference.foreign, "events", 0);
    findings.exactly("session complete", u64::from(session.complete), "", 1);
    findings.keep("sustained", &done.outcome)?;
    findings.keep("sustained_difference", &difference)
}

fn a_loss_is_told(bench: &Bench, findings: &mut Findings) -> Result<()> {
    let options = Options {
        // This ring holds about 150 pairs. A burst at full speed makes more before the next read.
        agent: vec![("ring_size", "64KiB".to_owned())],
        ..Options::default()
    };
    let rig = bench.rig(&options)?;
    let certificate = rig.lab.certificate("loss", SERIAL + 1)?;
    let arguments = LoadArguments::default()
        .with("workers", 2)
        .with("count", bench.full_or_short(50_000, 10_000));
    let done = rig.load_in_session(&certificate, &arguments)?.wait()?;
    let session = stored::closed_session(&rig, SERIAL + 1)?;
    let difference = compare(&done.rows, session.against_ledger(done.leader)?);
    // An exec and an exit for each child, and the exit of the leader.
    let truth = 2 * difference.rows + 1;
    let lost = truth.saturating_sub(session.events.len() as u64);
    let reported = session
        .missing()
        .context("the session does not say how many are missing")?;
    findings.at_least("tiny ring: events lost", u64_as_f64(lost), "events", 1.0);
    findings.state(
        "tiny ring: events reported lost",
        u64_as_f64(reported),
        "events",
    );
    findings.exactly(
        "tiny ring: lost but not reported, or reported but not lost",
        reported.abs_diff(lost),
        "events",
        0,
    );
    findings.exactly(
        "tiny ring: events twice",
        difference.duplicated,
        "events",
        0,
    );
    findings.keep("loss", &done.outcome)?;
    findings.keep("loss_difference", &difference)
}
