//! Time to find one session among millions of events, and time to drop a day.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;
use vctl_tests::centre::{Centre, Client, DATABASE, Options, PostgresOptions};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::{Summary, u64_as_f64};
use vctl_tests::ship::Source;

use crate::process::times;
use crate::report::Findings;
use crate::rig::Bench;

/// Sessions that an agent ships. The server copies them to make all others.
const TEMPLATE_SESSIONS: u64 = 100;
const EVENTS_A_SESSION: u64 = 200;
const TEMPLATE: u64 = TEMPLATE_SESSIONS * EVENTS_A_SESSION;
const DAYS: u64 = 10;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options {
        postgres: PostgresOptions {
            settings: vec![
                ("shared_buffers", "1GB".to_owned()),
                ("max_wal_size", "8GB".to_owned()),
                // Generated rows need not survive a power cut.
                ("wal_level", "minimal".to_owned()),
                ("max_wal_senders", "0".to_owned()),
                ("full_page_writes", "off".to_owned()),
            ],
            ..PostgresOptions::default()
        },
        ..Options::default()
    })?;
    template(bench, &centre)?;
    let reader = centre.with_policies(&["vctl-user", "vctl-auditor"])?;

    let a_day = bench.full_or_short(events_that_fit()? / DAYS, 2 * TEMPLATE);
    let rounds = bench.full_or_short(200, 10);
    replicate(&centre, 1, a_day)?;
    let small = look_up(&centre, &reader, rounds, 1)?;
    for day in 2..=DAYS {
        replicate(&centre, day, a_day)?;
        eprintln!("  {day} of {DAYS} days are stored");
    }
    let big = look_up(&centre, &reader, rounds, DAYS)?;
    let stored: u64 = centre
        .ask("select count(*) from vctl.kernel_event")?
        .parse()?;
    let setup = times(rounds, |_| Ok(vctl(&centre, &reader, &["fleet"])))?;
    findings.state("events stored", u64_as_f64(stored), "");
    findings.state("bytes stored", bytes(&centre)?, "");
    findings.state(
        "connection set-up (vctl fleet of no host), p50",
        setup.p50,
        "ms",
    );
    findings.state("vctl session <serial>, p50", big.whole.p50, "ms");
    findings.state("vctl session <serial>, p99", big.whole.p99, "ms");
    findings.at_most(
        "vctl session <serial> beyond set-up, p50",
        big.whole.p50 - setup.p50,
        "ms",
        50.0,
    );
    findings.state(
        "the same with a tenth of the events",
        small.whole.p50 - setup.p50,
        "ms",
    );
    findings.at_most(
        "pages read for the events, beside a tenth of them",
        big.pages / small.pages,
        "times",
        1.5,
    );
    let same = big.plan == small.plan;
    findings.exactly(
        "plans that differ from those of a tenth",
        u64::from(!same),
        "",
        0,
    );
    findings.keep("session_ms", &big.whole)?;
    findings.keep("session_of_a_tenth_ms", &small.whole)?;
    findings.keep("set_up_ms", &setup)?;
    findings.keep("plan", &big.explained)?;
    findings.keep("plan_of_a_tenth", &small.explained)?;

    let mut dropped = Vec::new();
    for events in [
        TEMPLATE / 2,
        a_day / 2,
        bench.full_or_short(5_000_000, a_day),
    ] {
        dropped.push((events, drop_a_day(&centre, events)?));
    }
    for (events, ms) in &dropped {
        findings.at_most(
            &format!("a day of {events} events dropped"),
            *ms,
            "ms",
            1000.0,
        );
    }
    findings.keep("dropped_ms", &dropped)?;

    let programs = Programs::find()?;
    for args in [&["--help"][..], &["session", "--help"]] {
        let help = times(rounds, |_| {
            let mut command = Command::new(&programs.vctl);
            command.args(args);
            Ok(command)
        })?;
        findings.state(&format!("vctl {}, p50", args.join(" ")), help.p50, "ms");
    }
    Ok(findings)
}

/// A hundred million events if the disk has twice the space for them, otherwise fewer.
fn events_that_fit() -> Result<u64> {
    let free = nix::sys::statvfs::statvfs("/run")?;
    let free = free.blocks_available() * free.fragment_size();
    Ok(if free > 80 << 30 {
        100_000_000
    } else {
        20_000_000
    })
}

fn template(bench: &Bench, centre: &Centre) -> Result<()> {
    let host = centre.enroll("bench-history")?;
    let dir = bench.directory("history-")?;
    let mut source = Source::open(&dir.join("spool"), 16 << 20, 1 << 30)?;
    for serial in 1..=TEMPLATE_SESSIONS {
        let id = source.log_in(serial)?;
        source.work(id, EVENTS_A_SESSION)?;
        source.log_out(id)?;
    }
    let _shipper = source.ship(&centre.way(&host, &dir)?)?;
    centre.ensure_has(
        &host.name,
        &source.sessions,
        std::time::Duration::from_mins(1),
    )?;
    centre.ask(
        "create schema bench; create table bench.session as select * from vctl.audit_session; \
                create table bench.event as select * from vctl.kernel_event",
    )?;
    Ok(())
}

/// Fills the day that many days ago with copies of the template. The copies have other sessions and other serials and
/// the same records.
fn replicate(centre: &Centre, days_ago: u64, events: u64) -> Result<()> {
    let copies = events.div_ceil(TEMPLATE);
    let back = days_ago * 86_400_000_000_000;
    centre.ask(&format!(
        "select vctl.ensure_event_day((select max(day) from bench.event) - {days_ago});
         insert into vctl.audit_session
         select (jsonb_populate_record(s, jsonb_build_object(
                 'id', md5(s.id || '/{days_ago}/' || n)::uuid, 'cert_serial', {days_ago} * 10000000::bigint + n * 1000 + s.cert_serial,
                 'opened_wall', s.opened_wall - {back}, 'closed_wall', s.closed_wall - {back},
                 'opened_at', s.opened_at - interval '{days_ago} day', 'closed_at', s.closed_at - interval '{days_ago} day',
                 'last_event_at', s.last_event_at - interval '{days_ago} day',
                 'first_day', s.first_day - {days_ago}, 'last_day', s.last_day - {days_ago}))).*
         from bench.session s, generate_series(1, {copies}) n;
         update vctl.audit_session c set
             opened = regexp_replace(replace(s.opened::text, s.id::text, c.id::text),
                 '(\"serial\":\"?)[0-9]+', '\\1' || c.cert_serial)::json,
             closed = replace(s.closed::text, s.id::text, c.id::text)::json
         from bench.session s, generate_series(1, {copies}) n
         where c.id = md5(s.id || '/{days_ago}/' || n)::uuid;
         insert into vctl.kernel_event (day, session_id, seq, at, wall_offset, host_id, kind, pid, ppid, uid, status,
             exe, cwd, filename, argv, head)
         select e.day - {days_ago}, md5(e.session_id || '/{days_ago}/' || n)::uuid, e.seq, e.at - interval '{days_ago} day',
             e.wall_offset - {back}, e.host_id, e.kind, e.pid, e.ppid, e.uid, e.status, e.exe, e.cwd, e.filename,
             e.argv, e.head
         from generate_series(1, {copies}) n, bench.event e"
    ))?;
    for each in [
        "vacuum (analyze) vctl.kernel_event, vctl.audit_session",
        "checkpoint",
    ] {
        centre.ask(each)?;
    }
    Ok(())
}

/// Query plan that found one session.
struct LookUp {
    whole: Summary,
    /// Nodes of the plan, from the outermost.
    plan: Vec<String>,
    pages: f64,
    explained: Value,
}

fn look_up(centre: &Centre, reader: &Client, rounds: u32, days: u64) -> Result<LookUp> {
    let copies: u64 = centre
        .ask("select count(*) / 100 from vctl.audit_session where cert_serial between 10000000 and 19999999")?
        .parse()?;
    // Different serials each time, from any day.
    let serial = |round: u64| {
        let (day, copy) = (round % days + 1, round * 7919 % copies + 1);
        day * 10_000_000 + copy * 1000 + round % TEMPLATE_SESSIONS + 1
    };
    let first = serial(0).to_string();
    let shown = vctl(centre, reader, &["session", &first]).output()?;
    let shown = String::from_utf8(shown.stdout)?;
    ensure!(
        shown.contains(&format!("complete: all {EVENTS_A_SESSION} events")),
        "`vctl session {first}` does not show the session whole:\n{shown}"
    );
    let whole = times(rounds, |round| {
        Ok(vctl(
            centre,
            reader,
            &["session", &serial(u64::from(round)).to_string()],
        ))
    })?;
    let explained = centre.ask(&format!(
        "explain (analyze, buffers, format json)
         select e.seq, e.at, e.wall_offset, e.head from vctl.kernel_event e, vctl.audit_session s
         where s.cert_serial = {first} and e.session_id = s.id and e.day between s.first_day and s.last_day
           and e.seq > 0 order by e.seq"
    ))?;
    let explained: Value = serde_json::from_str(&explained)?;
    let top = &explained[0]["Plan"];
    let mut plan = Vec::new();
    nodes(top, &mut plan);
    let pages =
        ["Shared Hit Blocks", "Shared Read Blocks"].map(|name| top[name].as_f64().unwrap_or(0.0));
    Ok(LookUp {
        whole,
        plan,
        pages: pages.iter().sum(),
        explained,
    })
}

/// Node types and indexes of the plan. Partitions that the query did not read are left out.
fn nodes(plan: &Value, into: &mut Vec<String>) {
    if plan["Actual Loops"] == 0 {
        return;
    }
    into.push(plan["Node Type"].as_str().unwrap_or_default().to_owned());
    for below in plan["Plans"].as_array().into_iter().flatten() {
        nodes(below, into);
    }
}

/// Fills an old day with that many events, and returns the time to drop it in milliseconds.
fn drop_a_day(centre: &Centre, events: u64) -> Result<f64> {
    replicate(centre, 20, events)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ms = runtime.block_on(async {
        let client = centre.postgres.connect(DATABASE).await?;
        let begun = Instant::now();
        let rows = client
            .query("select * from vctl.prune_v1(14, 365, 1095)", &[])
            .await?;
        let ms = begun.elapsed().as_secs_f64() * 1e3;
        ensure!(
            rows.len() == 1,
            "{} partitions went instead of one",
            rows.len()
        );
        Ok(ms)
    })?;
    centre.ask("delete from vctl.audit_session where cert_serial between 200000000 and 209999999; checkpoint")?;
    Ok(ms)
}

fn bytes(centre: &Centre) -> Result<f64> {
    Ok(centre
        .ask("select sum(bytes) from vctl.event_days()")?
        .parse()?)
}

fn vctl(centre: &Centre, reader: &Client, args: &[&str]) -> Command {
    let mut command =
        Command::new(Programs::find().map_or_else(|_| "vctl".into(), |programs| programs.vctl));
    command
        .args(args)
        .env_clear()
        .env("HOME", "/nonexistent")
        .envs(centre.environment())
        .env("VAULT_TOKEN", reader.token().expose());
    command
}
