//! `ssh HOST true` to many hosts through `vctl proxy`, 50 at a time, as Ansible does it. The same hosts without vctl and
//! with a certificate that is ready are the comparison.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::lab::eventually;
use vctl_tests::load::stats::u64_as_f64;

use super::at_once::at_once;
use super::operator::Operator;
use super::ssh::NAME;
use crate::report::Findings;
use crate::rig::Bench;

/// Connections at the same time, as `forks = 50` of Ansible.
const AT_ONCE: usize = 50;

/// The hosts are visited in parts, with and without vctl in turn, so that both run on the machine in the same state.
const PARTS: usize = 5;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options {
        host: true,
        ..Options::default()
    })?;
    let host = centre.host.as_ref().context("there is no host")?;
    let operator = Operator::new(&centre, host, &bench.directory("home-")?)?;
    let count = bench.full_or_short(500, 50);
    let names: Vec<String> = (0..count).map(|number| format!("many-{number}")).collect();
    for name in &names {
        operator.knows(name, host, None)?;
    }
    operator.write_proxied_config()?;
    connections(&centre, &operator, &names, &mut findings)?;
    Ok(findings)
}

fn connections(
    centre: &Centre,
    operator: &Operator<'_>,
    names: &[String],
    findings: &mut Findings,
) -> Result<()> {
    // `ssh` leaves its proxy when it ends. The bench becomes its parent, so that its CPU time counts.
    set_child_subreaper(true)?;
    let logins =
        format!("select count(*) from pg_roles where rolname like 'audit-wr/userpass-{NAME}~%'");
    let watch = ConnectionWatch::start(centre)?;
    let (mut ours, mut theirs) = (Spent::default(), Spent::default());
    for part in names.chunks(names.len().div_ceil(PARTS)) {
        theirs.add(&visit(part, |name| operator.openssh(&[], &[name, "true"]))?);
        ours.add(&visit(part, |name| operator.proxied_to(name, &["true"]))?);
    }
    let most = watch.end()?;
    set_child_subreaper(false)?;
    let count = u64_as_f64(names.len() as u64);
    let open =
        "select count(*) from vctl.access_log where hostname like 'many-%' and closed_at is null";
    let closed = || Ok(centre.ask(open)? == "0");
    ensure!(eventually(Duration::from_mins(1), closed)?, "a row is open");
    let rows = centre.ask(
        "select count(distinct hostname) || ' ' || count(distinct cert_serial) || ' ' || count(*) \
         from vctl.access_log where hostname like 'many-%'",
    )?;
    for (what, counted) in ["hosts", "certificates", "rows"]
        .iter()
        .zip(rows.split(' '))
    {
        let what = format!("{what} in the access log");
        findings.exactly(&what, counted.parse()?, "", names.len() as u64);
    }
    findings.state("through vctl proxy, all", ours.seconds, "s");
    findings.state("with a certificate that is ready, all", theirs.seconds, "s");
    let ratio = ours.seconds / theirs.seconds;
    findings.at_most("time through vctl proxy / without", ratio, "", 0.9);
    findings.at_most("database logins", centre.ask(&logins)?.parse()?, "", 4.0);
    findings.at_most("connections of Postgres at once", most, "", 64.0);
    findings.state(
        "CPU of ssh without vctl, each",
        theirs.cpu_s / count * 1e3,
        "ms",
    );
    let cpu = (ours.cpu_s - theirs.cpu_s) / count * 1e3;
    findings.at_most("CPU of vctl proxy, each", cpu, "ms", 25.0);
    findings.keep("parts_s", &[&ours.parts, &theirs.parts])
}

/// Time of all visits, and CPU time of their processes.
#[derive(Debug, Default)]
struct Spent {
    seconds: f64,
    cpu_s: f64,
    parts: Vec<f64>,
}

impl Spent {
    fn add(&mut self, part: &Self) {
        self.seconds += part.seconds;
        self.cpu_s += part.cpu_s;
        self.parts.push(part.seconds);
    }
}

/// Runs the command of each host, 50 at a time.
fn visit(names: &[String], command: impl Fn(&str) -> Command + Sync) -> Result<Spent> {
    let before = children_cpu_s()?;
    let begun = Instant::now();
    at_once(AT_ONCE, names.len(), |number| {
        let mut command = command(&names[number]);
        let output = command.stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", names[number]);
        Ok(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    reap_proxies()?;
    Ok(Spent {
        seconds,
        cpu_s: children_cpu_s()? - before,
        parts: Vec::new(),
    })
}

/// Waits for the proxies that `ssh` left. The agent that they share goes on.
fn reap_proxies() -> Result<()> {
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_millis(500) {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => thread::sleep(Duration::from_millis(10)),
            Ok(_) => quiet_since = Instant::now(),
            Err(Errno::ECHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn children_cpu_s() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |time: nix::sys::time::TimeVal| {
        let micros = u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0);
        u64_as_f64(micros) / 1e6
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// Counts the connections of people in Postgres, every 20 ms, on a connection of its own.
struct ConnectionWatch<'a> {
    centre: &'a Centre,
    psql: Child,
}

impl<'a> ConnectionWatch<'a> {
    fn start(centre: &'a Centre) -> Result<Self> {
        let tables = "create table bench_watch (most integer not null); create table bench_stop ()";
        centre.postgres.psql(DATABASE, tables)?;
        let watching = "do $$ declare most integer := 0; begin \
                loop \
                    perform pg_stat_clear_snapshot(); \
                    select greatest(most, count(*)) into most from pg_stat_activity where usename like '%~%'; \
                    exit when exists (select from bench_stop); \
                    perform pg_sleep(0.02); \
                end loop; \
                insert into bench_watch values (most); \
            end $$";
        let postgres = &centre.postgres;
        let psql = postgres
            .psql_command(postgres.superuser(DATABASE), "verify-full", postgres.ca())
            .args(["-c", watching])
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { centre, psql })
    }

    /// Returns the highest count.
    fn end(mut self) -> Result<f64> {
        let stop = "insert into bench_stop default values";
        self.centre.postgres.psql(DATABASE, stop)?;
        // `reap_proxies` may have waited for it.
        let _ = self.psql.wait();
        Ok(self.centre.ask("select most from bench_watch")?.parse()?)
    }
}
