//! `vctl list`, `audit` and `session --list` as users run them. Each run starts a process, connects with the database
//! login of the last run, and prints an answer.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use vctl_tests::centre::{Centre, Client, DATABASE, Options};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::{Summary, u64_as_f64};
use vctl_tests::ship::Source;

use super::ssh::interleaved;
use crate::process::{peak_memory, times};
use crate::report::Findings;
use crate::rig::{Bench, MIB};

const HOSTS: u32 = 120;
const MANY_HOSTS: u32 = 10_000;
const ACCESSES: u64 = 10_000;
/// Events of each recorded session.
const EVENTS: u64 = 2;

/// A command that reads, compared with `psql` and the same statements.
struct Reading {
    args: &'static [&'static str],
    limit_ms: f64,
    /// Role of the database login in Vault.
    role: &'static str,
    /// Statements of the command, in parts.
    statements: &'static [&'static [&'static str]],
    /// Values of `$1`, `$2` and so on as the command sends them without options.
    values: &'static [&'static str],
    /// Highest ratio to `psql`.
    limit: f64,
}

const WANTED: &str = include_str!("../../../../../cli/src/audit/wanted.sql");

const READINGS: [Reading; 3] = [
    Reading {
        args: &["list"],
        limit_ms: 20.0,
        role: "vctl-ro",
        statements: &[&[include_str!(
            "../../../../../cli/src/inventory/inventory_hosts.sql"
        )]],
        values: &[],
        limit: 1.0,
    },
    Reading {
        args: &["audit"],
        limit_ms: 20.0,
        role: "vctl-audit-ro",
        statements: &[
            &[
                WANTED,
                include_str!("../../../../../cli/src/audit/accesses.sql"),
            ],
            &[
                WANTED,
                include_str!("../../../../../cli/src/audit/candidates.sql"),
                include_str!("../../../../../cli/src/audit/unexplained.sql"),
                "limit 1",
            ],
        ],
        values: &[
            "null", "null", "null", "null", "null", "false", "50", "null",
        ],
        limit: 1.0,
    },
    Reading {
        args: &["session", "--list"],
        limit_ms: 30.0,
        role: "vctl-audit-ro",
        statements: &[&[include_str!(
            "../../../../../cli/src/session/centre/sessions.sql"
        )]],
        values: &[
            "null", "null", "null", "null", "null", "null", "20", "false",
        ],
        limit: 1.2,
    },
];

impl Reading {
    /// Returns the statements for `psql`, which has no parameters.
    fn queries(&self) -> Vec<String> {
        let numbered = || self.values.iter().zip(1..);
        let query = |parts: &&[&str]| {
            let statement = parts.concat();
            numbered().fold(statement, |statement, (value, number)| {
                statement.replace(&format!("${number}"), value)
            })
        };
        self.statements.iter().map(query).collect()
    }
}

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options::default())?;
    let accesses = bench.full_or_short(ACCESSES, 200);
    record(bench, &centre, accesses)?;
    hosts(&centre, HOSTS)?;
    let reader = Reader {
        vctl: Programs::find()?.vctl,
        client: centre.person("bench-reading", &["vctl-user", "vctl-auditor"])?,
        centre: &centre,
        home: bench.directory("home-")?,
    };
    reader.log_in()?;
    let rounds = bench.full_or_short(100, 5);
    for reading in &READINGS {
        reader.measure(reading, rounds, &mut findings)?;
    }
    beside(&reader, rounds, &mut findings)?;
    let before = logins(&centre)?;
    let runs = bench.full_or_short(1000, 20);
    times(runs, |_| Ok(reader.vctl(&["list"])))?;
    findings.state("runs one after the other", f64::from(runs), "");
    findings.at_most(
        "database logins more than before them",
        (logins(&centre)? - before).max(0.0),
        "",
        4.0,
    );

    hosts(&centre, bench.full_or_short(MANY_HOSTS, 500))?;
    let took = times(rounds, |_| Ok(reader.vctl(&["list"])))?;
    findings.at_most("vctl list of 10,000 hosts, p50", took.p50, "ms", 150.0);
    findings.keep("vctl_list_of_many_ms", &took)?;

    let took = times(rounds, |_| {
        forget(&reader.vctl)?;
        Ok(reader.vctl(&["--help"]))
    })?;
    findings.at_most(
        "vctl --help, the program not in memory, p50",
        took.p50,
        "ms",
        10.0,
    );
    findings.keep("vctl_help_ms", &took)?;
    Ok(findings)
}

/// An auditor at a workstation with a token.
struct Reader<'a> {
    vctl: PathBuf,
    client: Client,
    centre: &'a Centre,
    home: PathBuf,
}

impl Reader<'_> {
    fn vctl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.vctl);
        command
            .args(args)
            .env_clear()
            .env("HOME", &self.home)
            .envs(self.centre.environment());
        command
    }

    fn log_in(&self) -> Result<()> {
        let file = self.home.join("given");
        fs::write(&file, self.client.token().expose())?;
        let mut login = self.vctl(&["login", "--token-stdin"]);
        let output = login.stdin(File::open(&file)?).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cannot log in: {said}");
        Ok(())
    }

    /// Compares a command with `psql` and a database login that exists.
    fn measure(&self, reading: &Reading, rounds: u32, findings: &mut Findings) -> Result<()> {
        let name = format!("vctl {}", reading.args.join(" "));
        let credential = self.client.credential(reading.role)?;
        let postgres = &self.centre.postgres;
        let queries = reading.queries();
        let psql = || {
            let mut psql = postgres.psql_command(credential.login(), "verify-full", postgres.ca());
            for query in &queries {
                psql.args(["-c", query]);
            }
            psql
        };
        let ours = || self.vctl(reading.args);
        // The first round does not count.
        let [took, theirs] = interleaved(rounds + 1, [(&name, &ours), ("psql", &psql)])?;
        self.client.revoke(&credential)?;
        findings.at_most(&format!("{name}, p50"), took.p50, "ms", reading.limit_ms);
        findings.state(&format!("{name}, p99"), took.p99, "ms");
        let memory = peak_memory(self.vctl(reading.args))? * 1024.0 / MIB;
        findings.at_most(&format!("{name}, memory"), memory, "MiB", 20.0);
        findings.state(
            &format!("psql with a login, for {name}, p50"),
            theirs.p50,
            "ms",
        );
        let ratio = took.p50 / theirs.p50;
        findings.at_most(&format!("{name} / psql"), ratio, "", reading.limit);
        let key = reading.args.join("_");
        findings.keep(&format!("vctl_{key}_ms"), &took)?;
        findings.keep(&format!("psql_{key}_ms"), &theirs)
    }
}

/// Time of the first result of a token: Vault creates the login.
fn beside(reader: &Reader<'_>, rounds: u32, findings: &mut Findings) -> Result<()> {
    let client = &reader.client;
    let mut made = Vec::new();
    for _ in 0..rounds {
        let begun = Instant::now();
        let credential = client.credential("vctl-ro")?;
        made.push(begun.elapsed().as_secs_f64() * 1e3);
        client.revoke(&credential)?;
    }
    let made = Summary::of(made);
    findings.state(
        "Vault makes a database login, connecting to it included, p50",
        made.p50,
        "ms",
    );
    findings.keep("vault_login_ms", &made)
}

/// Makes a host ship that many sessions, and adds a row to the access log for each.
fn record(bench: &Bench, centre: &Centre, accesses: u64) -> Result<()> {
    let host = centre.enroll("bench-reading")?;
    let dir = bench.directory("reading-")?;
    let mut source = Source::open(&dir.join("spool"), 16 << 20, 1 << 30)?;
    for serial in 1..=accesses {
        let id = source.log_in(serial)?;
        source.work(id, EVENTS)?;
        source.log_out(id)?;
    }
    let _shipper = source.ship(&centre.way(&host, &dir)?)?;
    centre.ensure_has(&host.name, &source.sessions, Duration::from_mins(3))?;
    let sql = format!(
        "insert into vctl.access_log (vault_user, opened_at, closed_at, result, exit_code, hostname, login_user,
            target_addr, target_port, ca_fingerprint, cert_serial, source_ip, client_user)
         select 'userpass-' || (array['alice', 'bob', 'carol'])[n % 3 + 1], now() - n * interval '1 minute',
            now() - n * interval '1 minute' + interval '40 seconds', 'ok', 0, 'bench-reading', 'ubuntu',
            '127.0.0.1', 22, (select min(ca_fingerprint) from vctl.audit_session), n, '127.0.0.1', 'somebody'
         from generate_series(1, {accesses}) n"
    );
    centre.postgres.psql(DATABASE, &sql)?;
    centre.postgres.psql(DATABASE, "analyze")?;
    Ok(())
}

/// Fills the inventory up to that many hosts.
fn hosts(centre: &Centre, count: u32) -> Result<()> {
    let sql = format!(
        "insert into vctl.servers (hostname, ip, dc)
         select 'web-' || n, '10.0.0.0'::inet + n, (array['seoul', 'incheon', 'busan'])[n % 3 + 1]
         from generate_series(1, {count} - (select count(*) from vctl.servers)) n
         on conflict do nothing;
         insert into vctl.servers (hostname, ip, dc)
         select 'more-' || n, '10.1.0.0'::inet + n, 'frankfurt'
         from generate_series(1, {count} - (select count(*) from vctl.servers)) n"
    );
    centre.postgres.psql(DATABASE, &sql)?;
    Ok(())
}

/// Number of existing logins that Vault created.
fn logins(centre: &Centre) -> Result<f64> {
    let count: u64 = centre
        .ask("select count(*) from pg_roles where rolcanlogin and rolvaliduntil is not null")?
        .parse()?;
    Ok(u64_as_f64(count))
}

/// Drops a file from the page cache, so that the next read comes from the disk.
fn forget(path: &PathBuf) -> Result<()> {
    let file = File::open(path)?;
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    Ok(())
}
