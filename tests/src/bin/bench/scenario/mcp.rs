//! `vctl mcp`: time from its start to its first answer, and time of a warm `vctl_list`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use vctl_tests::centre::{Centre, Client, DATABASE, Options};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::Summary;

use crate::report::Findings;
use crate::rig::Bench;

const HOSTS: u32 = 120;
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
        let mut server = Server::start(user.vctl())?;
        server.initialize()?;
        starts.push(milliseconds(begin));
        first_lists.push(server.timed_list(HOSTS)?);
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
    let mut server = Server::start(user.vctl())?;
    server.initialize()?;
    server.timed_list(HOSTS)?;
    let warm = (0..rounds).map(|_| server.timed_list(HOSTS));
    let warm = Summary::of(warm.collect::<Result<Vec<f64>>>()?);
    findings.at_most("a warm vctl_list, p50", warm.p50, "ms", 30.0);
    findings.state("a warm vctl_list, p99", warm.p99, "ms");
    findings.keep("warm_list_ms", &warm)?;

    let many = bench.full_or_short(MANY_HOSTS, 500);
    hosts(&centre, many)?;
    let rounds = bench.full_or_short(50, 5);
    let page = (0..rounds).map(|_| server.timed_list(many));
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
    client: Client,
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

/// A running `vctl mcp`.
struct Server {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_id: u32,
}

impl Server {
    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        Ok(Self {
            input: child.stdin.take().context("no standard input")?,
            output: BufReader::new(child.stdout.take().context("no standard output")?),
            child,
            last_id: 0,
        })
    }

    fn initialize(&mut self) -> Result<()> {
        let params = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        });
        self.ask("initialize", &params)?;
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    }

    /// Returns the milliseconds of a `vctl_list`. The answer must count this number of hosts.
    fn timed_list(&mut self, hosts: u32) -> Result<f64> {
        let begin = Instant::now();
        let params = json!({"name": "vctl_list", "arguments": {}});
        let answer = self.ask("tools/call", &params)?;
        let took = milliseconds(begin);
        let total = &answer["structuredContent"]["total"];
        ensure!(*total == hosts, "wrong list: {answer}");
        Ok(took)
    }

    fn ask(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.last_id += 1;
        let request =
            json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        self.send(&request)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let mut answer: Value = serde_json::from_str(&line)?;
        ensure!(answer["id"] == self.last_id, "another answer: {line}");
        Ok(answer["result"].take())
    }

    fn send(&mut self, message: &Value) -> Result<()> {
        Ok(self.input.write_all(format!("{message}\n").as_bytes())?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
