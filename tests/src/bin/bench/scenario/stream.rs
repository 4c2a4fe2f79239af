//! A fleet with a backlog ships through JetStream: two consumers, three servers, one of each killed. Then the same
//! backlog goes straight to Postgres.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use vctl_agent::store::Shipper;
use vctl_tests::centre::{Centre, Nats, Options, PostgresOptions};
use vctl_tests::load::stats::u64_as_f64;
use vctl_tests::ship::Source;

use super::agents::{A_MINUTE, BACKENDS, come_back, raise_the_limit_of_files};
use crate::report::Findings;
use crate::rig::Bench;

/// Least part of the direct rate.
const LEAST: f64 = 0.8;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    raise_the_limit_of_files()?;
    let agents = bench.full_or_short(1000, 60);
    let events = u64::from(agents) * A_MINUTE;

    let streamed = stream(bench, agents)?;
    let direct = come_back(bench, agents, BACKENDS)?;
    let rate = |took: Duration| u64_as_f64(events) / took.as_secs_f64();
    findings.state("agents", f64::from(agents), "");
    findings.state("events of each", u64_as_f64(A_MINUTE), "");
    findings.exactly("hosts whose rows are not the truth", streamed.wrong, "", 0);
    findings.exactly("gaps", streamed.gaps, "", 0);
    findings.exactly("database logins of hosts", streamed.logins, "", 0);
    findings.state("all published after", streamed.published.as_secs_f64(), "s");
    findings.state("all stored after", streamed.stored.as_secs_f64(), "s");
    findings.state("rate through JetStream", rate(streamed.stored), "events/s");
    findings.state("rate straight to Postgres", rate(direct.last), "events/s");
    findings.at_least(
        "beside the direct way",
        rate(streamed.stored) / rate(direct.last),
        "times",
        LEAST,
    );
    Ok(findings)
}

struct Streamed {
    published: Duration,
    stored: Duration,
    wrong: u64,
    gaps: u64,
    logins: u64,
}

fn stream(bench: &Bench, agents: u32) -> Result<Streamed> {
    let centre = Centre::start(&Options {
        postgres: PostgresOptions {
            fsync: true,
            max_connections: BACKENDS,
            settings: vec![
                ("shared_buffers", "1GB".to_owned()),
                ("full_page_writes", "on".to_owned()),
            ],
        },
        ..Options::default()
    })?;
    let names: Vec<_> = (0..agents)
        .map(|number| format!("stream-{number}"))
        .collect();
    centre.ask(&format!(
        "insert into vctl.servers (hostname, ip) select 'stream-' || n, '127.0.0.1' from generate_series(0, {}) n",
        agents - 1
    ))?;
    let hosts: Vec<_> = names.iter().map(String::as_str).collect();
    let servers = Nats::cluster(&centre, &hosts)?;
    wait_for(Duration::from_secs(30), || {
        Ok(servers[0].create_stream(-1, 3).is_ok())
    })?;
    let mut sources = Vec::new();
    for (number, name) in (1..).zip(&names) {
        let dir = bench.directory("stream-")?;
        let mut source = Source::open(&dir.join("spool"), 4 << 20, 64 << 20)?;
        let id = source.log_in(number)?;
        source.work(id, A_MINUTE)?;
        sources.push((name, source));
    }
    let mut first = servers[0].ingest(&centre)?;
    let second = servers[0].ingest(&centre)?;
    wait_for(Duration::from_secs(30), || {
        Ok(first.logged()?.contains("Storing the batches")
            && second.logged()?.contains("Storing the batches"))
    })?;
    centre.ask("checkpoint")?;

    let begun = Instant::now();
    let mut shippers = Vec::new();
    for (name, source) in &sources {
        shippers.push(source.ship_by(uuid::Uuid::nil(), servers[0].route(name))?);
    }
    let stored = || -> Result<u64> {
        Ok(centre
            .ask("select coalesce(sum(events), 0) from vctl.ingest_cursor")?
            .parse()?)
    };
    let all = u64::from(agents) * A_MINUTE;
    let (mut published, mut killed) = (None, false);
    let stored_after = loop {
        let count = stored()?;
        if !killed && count > all / 4 {
            killed = true;
            first.kill()?;
            servers[2].kill()?;
        }
        let shipped = |shipper: &Shipper| shipper.progress().status().events_shipped;
        if published.is_none() && shippers.iter().all(|shipper| shipped(shipper) >= A_MINUTE) {
            published = Some(begun.elapsed());
        }
        if count >= all {
            break begun.elapsed();
        }
        ensure!(
            begun.elapsed() < Duration::from_mins(15),
            "only {count} of {all} events are stored"
        );
        sleep(Duration::from_millis(50));
    };
    ensure!(killed, "nothing was killed");
    let mut wrong = 0;
    for (name, source) in &sources {
        if let Err(error) = centre.ensure_has(name, &source.sessions, Duration::from_secs(5)) {
            eprintln!("{error:#}");
            wrong += 1;
        }
    }
    let number = |sql: &str| -> Result<u64> { Ok(centre.ask(sql)?.parse()?) };
    Ok(Streamed {
        published: published.unwrap_or(stored_after),
        stored: stored_after,
        wrong,
        gaps: number("select count(*) from vctl.audit_gap")?,
        logins: number("select count(*) from pg_roles where rolname like 'ingest/%'")?,
    })
}

fn wait_for(patience: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let begun = Instant::now();
    while !is_so()? {
        ensure!(begun.elapsed() < patience, "the servers are not ready");
        sleep(Duration::from_millis(50));
    }
    Ok(())
}
