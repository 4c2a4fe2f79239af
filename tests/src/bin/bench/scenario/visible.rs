//! Time from an exec in a busy session until the centre can show its row.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use vctl_common::time::wall_now;
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::lab;
use vctl_tests::load::stats::{Summary, count_as_f64};

use crate::report::Findings;
use crate::rig::{Bench, LoadArguments};

/// Interval of the queries, which is the resolution of the result.
const LOOK: Duration = Duration::from_millis(20);
const RATE: u64 = 100;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options::default())?;
    let host = centre.enroll("bench-visible")?;
    let dir = bench.directory("visible-")?;
    let rig = bench.rig(&lab::Options {
        agent: centre.agent_keys(&host, &dir)?,
        ..lab::Options::default()
    })?;
    let who = rig.lab.certificate("visible", 1)?;
    let count = RATE * bench.full_or_short(60, 5);
    let arguments = LoadArguments::default()
        .with("count", count)
        .with("rate", RATE);
    let load = rig.load_in_session(&who, &arguments)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // First time that each row was seen, and the kernel's time of the exec.
    let mut waited = Vec::new();
    runtime.block_on(async {
        let client = centre.postgres.connect(DATABASE).await?;
        let fresh = client
            .prepare(
                "select seq, at from vctl.kernel_event where kind = 1 and seq > $1 order by seq",
            )
            .await?;
        let (mut last, begun) = (0_i64, Instant::now());
        while count_as_f64(waited.len()) < vctl_tests::load::stats::u64_as_f64(count) {
            ensure!(
                begun.elapsed() < Duration::from_mins(3),
                "only {} of {count} came",
                waited.len()
            );
            let rows = client.query(&fresh, &[&last]).await?;
            let seen = wall_now().duration_since(UNIX_EPOCH)?.as_secs_f64();
            for row in rows {
                last = row.get(0);
                let at: SystemTime = row.get(1);
                waited.push((seen - at.duration_since(UNIX_EPOCH)?.as_secs_f64()) * 1e3);
            }
            sleep(LOOK);
        }
        anyhow::Ok(())
    })?;
    let done = load.wait()?;
    ensure!(
        done.rows.len() as u64 == count,
        "the load ran {} programs",
        done.rows.len()
    );
    let summary = Summary::of(waited);
    findings.state(
        "programs a second",
        vctl_tests::load::stats::u64_as_f64(RATE),
        "",
    );
    findings.at_most("from an exec to its row, p50", summary.p50, "ms", 1000.0);
    findings.at_most("from an exec to its row, p99", summary.p99, "ms", 3000.0);
    findings.state("from an exec to its row, at most", summary.max, "ms");
    findings.keep("visible_ms", &summary)?;
    drop(rig);
    dir.exists()
        .then_some(())
        .context("the directory went away")?;
    Ok(findings)
}
