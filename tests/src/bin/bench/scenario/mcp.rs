//! `vctl mcp`: time from its start to its first answer, of a warm `vctl_list`, and from a cancellation to the end of the
//! command on the host.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use vctl_tests::centre;
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::lab::{PATIENCE, Programs, eventually};
use vctl_tests::load::stats::Summary;
use vctl_tests::mcp_client::Client;

use crate::report::Findings;
use crate::rig::Bench;

const HOSTS: u32 = 500;
const MANY_HOSTS: u32 = 10_000;
/// The host of the commands.
const HOST: &str = "bench-mcp";

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options {
        host: true,
        ..Options::default()
    })?;
    hosts(&centre, HOSTS)?;
    let user = User {
        vctl: Programs::find()?.vctl,
        client: centre.person("bench-mcp", &["vctl-user", "vctl-ssh"])?,
        centre: &centre,
        home: bench.directory("home-")?,
    };
    let (mut starts, mut first_lists) = (Vec::new(), Vec::new());
    for _ in 0..bench.full_or_short(50, 5) {
        let begin = Instant::now();
        let mut server = Client::start(user.vctl());
        starts.push(milliseconds(begin));
        first_lists.push(timed_list(&mut server, HOSTS)?);
    }
    let starts = Summary::of(starts);
    findings.at_most("start to the first answer, p50", starts.p50, "ms", 50.0);
    findings.state("start to the first answer, p99", starts.p99, "ms");
    findings.keep("start_ms", &starts)?;
    let first_lists = Summary::of(first_lists);
    let name = "the first vctl_list, which gets a database login, p50";
    findings.state(name, first_lists.p50, "ms");
    findings.keep("first_list_ms", &first_lists)?;

    let rounds = bench.full_or_short(500, 20);
    let mut server = Client::start(user.vctl());
    timed_list(&mut server, HOSTS)?;
    let warm = (0..rounds).map(|_| timed_list(&mut server, HOSTS));
    let warm = Summary::of(warm.collect::<Result<Vec<f64>>>()?);
    findings.at_most("a warm vctl_list, p50", warm.p50, "ms", 30.0);
    findings.state("a warm vctl_list, p99", warm.p99, "ms");
    findings.keep("warm_list_ms", &warm)?;

    let many = bench.full_or_short(MANY_HOSTS, 1000);
    hosts(&centre, many)?;
    let rounds = bench.full_or_short(50, 5);
    let page = (0..rounds).map(|_| timed_list(&mut server, many));
    let page = Summary::of(page.collect::<Result<Vec<f64>>>()?);
    findings.state(
        &format!("the first page of {many} hosts, p50"),
        page.p50,
        "ms",
    );
    findings.keep("many_hosts_ms", &page)?;
    cancellations(bench, &centre, &mut server, &mut findings)?;
    Ok(findings)
}

/// Cancels commands that end at SIGTERM, and commands that ignore it.
fn cancellations(
    bench: &Bench,
    centre: &Centre,
    server: &mut Client,
    findings: &mut Findings,
) -> Result<()> {
    let host = centre.host.as_ref().context("there is no host")?;
    centre.put_into_inventory(HOST, host.port(), host.user())?;
    let answer = server.result(
        2,
        "vctl_ssh_exec",
        &json!({"host": HOST, "command": "true"}),
    );
    ensure!(answer["structuredContent"]["exit_code"] == 0, "{answer}");
    // The account of the host writes to it.
    let dir = tempfile::Builder::new()
        .prefix("vctl-mcp")
        .tempdir_in("/tmp")?;
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777))?;
    let rounds = bench.full_or_short(30, 3);
    let mut ids = 1000..;
    for (name, key, before) in [
        ("cancel to the end of the command", "cancel_ms", ""),
        (
            "cancel to the end of a command that ignores SIGTERM",
            "cancel_ignored_term_ms",
            "trap '' TERM; ",
        ),
    ] {
        let times = (0..rounds).map(|round| {
            let file = dir.path().join(format!("{key}-{round}"));
            let id = ids.next().unwrap_or_default();
            cancelled(server, id, before, &file)
        });
        let times = Summary::of(times.collect::<Result<Vec<f64>>>()?);
        findings.at_most(&format!("{name}, p50"), times.p50, "ms", 1000.0);
        findings.at_most(&format!("{name}, p99"), times.p99, "ms", 1000.0);
        findings.keep(key, &times)?;
    }
    Ok(())
}

/// Starts a command that writes its process id to `file`, and returns the milliseconds from its cancellation to its end.
fn cancelled(server: &mut Client, id: u32, before: &str, file: &Path) -> Result<f64> {
    let shown = file.display();
    let command = format!("{before}echo $$ > {shown}.new; mv {shown}.new {shown}; exec sleep 600");
    server.call(
        id,
        "vctl_ssh_exec",
        &json!({"host": HOST, "command": command}),
    );
    let has_begun = eventually(PATIENCE, || Ok(file.exists()))?;
    ensure!(has_begun, "the command did not start");
    let process = Path::new("/proc").join(fs::read_to_string(file)?.trim());
    ensure!(
        process.exists(),
        "the command ended before its cancellation"
    );
    let begin = Instant::now();
    let cancel =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
    server.send(&cancel);
    while process.exists() {
        ensure!(begin.elapsed() < PATIENCE, "the command still runs");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(milliseconds(begin))
}

/// A user with a token.
struct User<'a> {
    vctl: PathBuf,
    client: centre::Client,
    centre: &'a Centre,
    home: PathBuf,
}

impl User<'_> {
    fn vctl(&self) -> Command {
        let mut command = Command::new(&self.vctl);
        command
            .arg("mcp")
            .env_clear()
            .env("HOME", &self.home)
            .envs(self.centre.environment())
            .env("VAULT_TOKEN", self.client.token().expose());
        command
    }
}

/// Returns the milliseconds of a `vctl_list`. The answer must count this number of hosts.
fn timed_list(server: &mut Client, hosts: u32) -> Result<f64> {
    let begin = Instant::now();
    let answer = server.result(1, "vctl_list", &json!({}));
    let took = milliseconds(begin);
    let total = &answer["structuredContent"]["total"];
    ensure!(*total == hosts, "wrong list: {answer}");
    Ok(took)
}

fn milliseconds(begin: Instant) -> f64 {
    begin.elapsed().as_secs_f64() * 1e3
}

/// Fills the inventory up to this number of hosts.
fn hosts(centre: &Centre, number: u32) -> Result<()> {
    let sql = format!(
        "insert into vctl.servers (hostname, ip, dc) \
         select 'web-' || n, '10.0.0.0'::inet + n, 'dc-' || n % 3 from generate_series(1, {number}) n \
         on conflict do nothing"
    );
    centre.postgres.psql(DATABASE, &sql)?;
    Ok(())
}
