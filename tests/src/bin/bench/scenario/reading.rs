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

use crate::process::{peak_memory, times};
use crate::report::Findings;
use crate::rig::{Bench, MIB};

const HOSTS: u32 = 120;
const MANY_HOSTS: u32 = 10_000;
const ACCESSES: u64 = 10_000;
/// Events of each recorded session.
const EVENTS: u64 = 2;

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
    for (args, limit_ms) in [
        (&["list"][..], 20.0),
        (&["audit"], 20.0),
        (&["session", "--list"], 30.0),
    ] {
        let name = format!("vctl {}", args.join(" "));
        let took = times(rounds, |_| Ok(reader.vctl(args)))?;
        findings.at_most(&format!("{name}, p50"), took.p50, "ms", limit_ms);
        findings.state(&format!("{name}, p99"), took.p99, "ms");
        let memory = peak_memory(reader.vctl(args))? * 1024.0 / MIB;
        findings.at_most(&format!("{name}, memory"), memory, "MiB", 20.0);
        findings.keep(&format!("{}_ms", name.replace(' ', "_")), &took)?;
        let (role, query) = match args[0] {
            "list" => ("vctl-ro", "select * from vctl.servers order by hostname"),
            "audit" => (
                "vctl-audit-ro",
                "select * from vctl.access_log order by opened_at desc limit 50",
            ),
            _ => continue,
        };
        let psql = reader.psql(rounds, role, query)?;
        findings.state(
            &format!("psql with a login, for {name}, p50"),
            psql.p50,
            "ms",
        );
        findings.at_most(&format!("{name} / psql"), took.p50 / psql.p50, "", 1.0);
        findings.keep(&format!("psql_{}_ms", args[0]), &psql)?;
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

    /// Measures `psql` with an existing login.
    fn psql(&self, rounds: u32, role: &str, query: &str) -> Result<Summary> {
        let credential = self.client.credential(role)?;
        let postgres = &self.centre.postgres;
        let took = times(rounds, |_| {
            let mut psql = postgres.psql_command(credential.login(), "verify-full", postgres.ca());
            psql.args(["-c", query]);
            Ok(psql)
        });
        self.client.revoke(&credential)?;
        took
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
