//! Breaks the way to the centre again and again. The centre must have every event exactly once.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use vctl_common::time::wall_now;
use vctl_tests::centre::{Centre, Options};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::u64_as_f64;
use vctl_tests::ship::faults;

use crate::report::Findings;
use crate::rig::Bench;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options::default())?;
    let since = wall_now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // The seed is in the report, so that a run can be repeated.
    let seed = u64::from(since.subsec_nanos());
    findings.state("seed", u64_as_f64(seed), "");
    let program = Programs::find()?.directory.join("ship-load");

    let restarts = bench.full_or_short(100, 5);
    let host = centre.enroll("bench-restarts")?;
    let dir = tempfile::tempdir()?;
    let events = faults::restarts(&centre, &host, dir.path(), u32::try_from(restarts)?)?;
    told(
        &mut findings,
        &centre,
        &host.name,
        ("Postgres killed", restarts),
        events,
    )?;

    let cuts = bench.full_or_short(100, 5);
    let host = centre.enroll("bench-cuts")?;
    let dir = tempfile::tempdir()?;
    let (events, answers_lost) = faults::cuts(&centre, &host, dir.path(), cuts, seed)?;
    told(
        &mut findings,
        &centre,
        &host.name,
        ("connections cut", cuts),
        events,
    )?;
    findings.state("of them before the answer", u64_as_f64(answers_lost), "");

    let kills = bench.full_or_short(1000, 10);
    let host = centre.enroll("bench-kills")?;
    let dir = tempfile::tempdir()?;
    let count = u32::try_from(kills)?;
    let events = faults::kills(&centre, &host, dir.path(), &program, count, seed)?;
    told(
        &mut findings,
        &centre,
        &host.name,
        ("agent killed", kills),
        events,
    )?;

    let seconds = bench.full_or_short(600, 10);
    let host = centre.enroll("bench-sealed")?;
    let dir = tempfile::tempdir()?;
    let events = faults::sealed(&centre, &host, dir.path(), Duration::from_secs(seconds))?;
    told(
        &mut findings,
        &centre,
        &host.name,
        ("seconds sealed", seconds),
        events,
    )?;
    Ok(findings)
}

/// Counts the rows again, after the drivers waited until every event was stored.
fn told(
    findings: &mut Findings,
    centre: &Centre,
    host: &str,
    (what, times): (&str, u64),
    events: u64,
) -> Result<()> {
    let of_host = format!(
        "from vctl.kernel_event e join vctl.audit_host h on h.id = e.host_id where h.hostname = '{host}'"
    );
    let count = |what: &str| -> Result<u64> {
        Ok(centre.ask(&format!("select {what} {of_host}"))?.parse()?)
    };
    let rows = count("count(*)")?;
    let events_stored = count("count(distinct (session_id, seq))")?;
    findings.state(what, u64_as_f64(times), "");
    findings.state(&format!("{what}: events"), u64_as_f64(events), "events");
    let missing = events.saturating_sub(events_stored);
    findings.exactly(&format!("{what}: events missing"), missing, "events", 0);
    findings.exactly(
        &format!("{what}: events twice"),
        rows - events_stored,
        "events",
        0,
    );
    Ok(())
}
