//! Rate from the spool to committed rows, compared with `\copy` and with one INSERT per row.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use vctl_tests::centre::{Centre, DATABASE, HostIdentity, Options, PostgresOptions};
use vctl_tests::load::stats::{median, u64_as_f64};
use vctl_tests::ship::Source;

use crate::report::Findings;
use crate::rig::{Bench, MIB};

/// Columns of a stored event. Both ways to copy name them in this order.
const COLUMNS: &str = "day, session_id, seq, at, wall_offset, host_id, kind, pid, ppid, uid, status, exe, cwd, \
                       filename, argv, head";
const IN_SESSION: u64 = 1000;
/// Number of rows that single INSERTs can write in a few seconds.
const SINGLE: u64 = 4000;

/// Rows per second of the ways in one round.
#[derive(Serialize)]
struct Round {
    shipped: f64,
    copied: f64,
    inserted: f64,
    inserted_by_200: f64,
    agent_cpu_us_per_event: f64,
    agent_rss_mib: f64,
}

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let postgres = PostgresOptions {
        // The setting of operators: a committed row survives a power cut.
        fsync: true,
        settings: vec![
            ("shared_buffers", "1GB".to_owned()),
            ("max_wal_size", "4GB".to_owned()),
            ("full_page_writes", "on".to_owned()),
        ],
        ..PostgresOptions::default()
    };
    let centre = Centre::start(&Options {
        postgres,
        ..Options::default()
    })?;
    findings.keep("settings", &settings(&centre)?)?;
    centre.ask(GO_TABLE)?;
    let events = bench.full_or_short(500_000, 20_000);
    let single = bench.full_or_short(SINGLE, 200);
    let mut rounds = Vec::new();
    for round in 0..bench.full_or_short(5, 2) {
        let host = centre.enroll(&format!("bench-ingest-{round}"))?;
        let dir = bench.directory("ingest-")?;
        let (shipped, cpu, rss) = ship(&centre, &host, &dir, events)?;
        let rows = dir.join("rows");
        copy(
            &centre,
            &format!("(select {COLUMNS} from vctl.kernel_event) to"),
            &rows,
        )?;
        centre.ask("truncate vctl.kernel_event")?;
        let copied = copy(
            &centre,
            &format!("vctl.kernel_event ({COLUMNS}) from"),
            &rows,
        )?;
        ensure!(centre.ask("select count(*) from vctl.kernel_event")? == events.to_string());
        centre.ask("truncate vctl.kernel_event")?;
        fs::remove_file(&rows)?;
        rounds.push(Round {
            shipped: u64_as_f64(events) / shipped.as_secs_f64(),
            copied: u64_as_f64(events) / copied.as_secs_f64(),
            inserted: u64_as_f64(single) / insert(&centre, single, 1)?.as_secs_f64(),
            inserted_by_200: u64_as_f64(single) / insert(&centre, single, 200)?.as_secs_f64(),
            agent_cpu_us_per_event: cpu.as_secs_f64() * 1e6 / u64_as_f64(events),
            agent_rss_mib: rss / MIB,
        });
    }
    let middle = |of: fn(&Round) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    let ratio = |of: fn(&Round) -> f64| move |round: &Round| round.shipped / of(round);
    let beside = |of: fn(&Round) -> f64| median(&rounds.iter().map(ratio(of)).collect::<Vec<_>>());
    findings.at_least(
        "spool to committed rows",
        middle(|r| r.shipped),
        "events/s",
        100_000.0,
    );
    findings.at_least(
        "beside \\copy of the same rows",
        beside(|r| r.copied),
        "times",
        0.6,
    );
    findings.at_least(
        "beside one INSERT a row",
        beside(|r| r.inserted),
        "times",
        10.0,
    );
    findings.state(
        "beside INSERTs, 200 a transaction",
        beside(|r| r.inserted_by_200),
        "times",
    );
    findings.state("\\copy", middle(|r| r.copied), "rows/s");
    findings.state(
        "one INSERT a row, five btrees",
        middle(|r| r.inserted),
        "rows/s",
    );
    findings.state(
        "CPU of shipping",
        middle(|r| r.agent_cpu_us_per_event),
        "µs/event",
    );
    findings.state(
        "memory of the whole process",
        middle(|r| r.agent_rss_mib),
        "MiB",
    );
    findings.keep("rounds", &rounds)?;
    Ok(findings)
}

/// Ships an existing spool until every event is committed, with the login to Vault. Returns the duration, its CPU time,
/// and the memory of this process at the end.
fn ship(
    centre: &Centre,
    host: &HostIdentity,
    dir: &Path,
    events: u64,
) -> Result<(Duration, Duration, f64)> {
    let mut source = Source::open(&dir.join("spool"), 16 << 20, 1 << 30)?;
    for serial in 1..=events / IN_SESSION {
        let id = source.log_in(serial)?;
        source.work(id, IN_SESSION)?;
        source.log_out(id)?;
    }
    let way = centre.way(host, dir)?;
    centre.ask("checkpoint")?;
    let (cpu, begun) = (cpu_of_this_process()?, Instant::now());
    let shipper = source.ship(&way)?;
    let shipped = || shipper.progress().status();
    while shipped().events_shipped < events {
        ensure!(begun.elapsed() < Duration::from_mins(5), "{:?}", shipped());
        sleep(Duration::from_millis(2));
    }
    let took = begun.elapsed();
    let cpu = cpu_of_this_process()?.saturating_sub(cpu);
    let rss = rss_of_this_process()?;
    // The rows are counted again, because the shipper's own number is not a proof.
    centre.ensure_has(&host.name, &source.sessions, Duration::from_mins(1))?;
    Ok((took, cpu, rss))
}

/// Copies between a table and a file, as `psql` does, and returns the duration.
fn copy(centre: &Centre, what: &str, file: &Path) -> Result<Duration> {
    centre.ask("checkpoint")?;
    let begun = Instant::now();
    centre.ask(&format!("\\copy {what} '{}'", file.display()))?;
    Ok(begun.elapsed())
}

/// Inserts rows one by one over one connection, with so many rows per transaction.
fn insert(centre: &Centre, rows: u64, a_transaction: u64) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let client = centre.postgres.connect(DATABASE).await?;
        let statement = client.prepare(GO_INSERT).await?;
        client
            .batch_execute("truncate bench.kernel_event; checkpoint")
            .await?;
        let begun = Instant::now();
        for row in 0..rows {
            if a_transaction > 1 && row % a_transaction == 0 {
                client.batch_execute("begin").await?;
            }
            let serial = i64::try_from(row / IN_SESSION)?;
            let args = format!("-a release-{row} backup:/srv");
            client.execute(&statement, &[&serial, &args]).await?;
            if a_transaction > 1 && (row + 1) % a_transaction == 0 {
                client.batch_execute("commit").await?;
            }
        }
        if a_transaction > 1 && !rows.is_multiple_of(a_transaction) {
            client.batch_execute("commit").await?;
        }
        Ok(begun.elapsed())
    })
}

/// Table and five btrees of the implementation before this one.
const GO_TABLE: &str = "
    create schema bench;
    create table bench.kernel_event (
        id bigserial primary key, session_id bigint, hostname text not null, cert_serial bigint,
        cgroup_id bigint, ts timestamptz not null, kind text not null, \"binary\" text, args text, cwd text,
        filename text, dest_addr text, exit_code integer);
    create index on bench.kernel_event (session_id, ts);
    create index on bench.kernel_event (hostname, ts desc);
    create index on bench.kernel_event (cert_serial);
    create index on bench.kernel_event (ts);";

const GO_INSERT: &str = "
    insert into bench.kernel_event (session_id, hostname, cert_serial, cgroup_id, ts, kind, \"binary\", args, cwd)
    values ($1, 'web-1', $1, 7001, now(), 'exec', '/usr/bin/rsync', $2, '/home/deploy')";

fn settings(centre: &Centre) -> Result<Vec<String>> {
    let asked = "select name || '=' || setting from pg_settings where name in ('server_version', 'fsync', \
                 'synchronous_commit', 'full_page_writes', 'shared_buffers', 'max_wal_size', 'wal_level')";
    Ok(centre.ask(asked)?.lines().map(str::to_owned).collect())
}

fn cpu_of_this_process() -> Result<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let of = |time: nix::sys::time::TimeVal| -> Result<Duration> {
        let micros = u64::try_from(time.tv_usec())?;
        Ok(Duration::from_secs(u64::try_from(time.tv_sec())?) + Duration::from_micros(micros))
    };
    Ok(of(usage.user_time())? + of(usage.system_time())?)
}

fn rss_of_this_process() -> Result<f64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .context("`statm` is short")?
        .parse()?;
    Ok(u64_as_f64(pages * 4096))
}
