//! `vctl mcp`: time from its start to its first answer, and time of a warm `vctl_list`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use vctl_tests::centre;
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::Summary;
use vctl_tests::mcp_client::Client;

use crate::report::Findings;
use crate::rig::Bench;

const HOSTS: u32 = 500;
const MANY_HOSTS: u32 = 10_000;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options::default())?;
    hosts(&centre, HOSTS)?;
    let user = User {
        vctl: Programs::find()?.vctl,
        client: centre.person("bench-mcp", &["vctl-user"])?,
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
    Ok(findings)
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
