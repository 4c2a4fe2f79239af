//! A token of ten seconds that `vctl agent` renews while the server stops and returns.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;
use vctl_tests::centre::{Centre, Options, Secret};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::{Summary, u64_as_f64};

use crate::report::Findings;
use crate::rig::Bench;

const TTL: Duration = Duration::from_secs(10);
/// Time between a read of the file and the answer of the server.
const SLACK: Duration = Duration::from_millis(500);

/// Fault of the server.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Restarted,
    Sealed,
    /// The server accepts connections, and does not answer.
    Silent,
}

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options::default())?;
    let home = bench.directory("home-")?;
    let machine = Machine::new(&centre, &home)?;
    let mut watched = Watched::new(&centre, home.join(".vctl/token-sink"));
    let agent = Agent(machine.vctl(&["agent"]).stderr(Stdio::null()).spawn()?);
    watched.until_good()?;

    let lasting = Duration::from_secs(bench.full_or_short(600, 30));
    let begun = Instant::now();
    let mut returns = Vec::new();
    let faults = [Fault::Restarted, Fault::Sealed, Fault::Silent]
        .into_iter()
        .cycle();
    // Shorter and longer than the life of the token.
    let away = [4, 16].map(Duration::from_secs).into_iter().cycle();
    for (fault, away) in faults.zip(away) {
        if begun.elapsed() >= lasting {
            break;
        }
        watched.for_a_while(TTL + TTL / 2)?;
        fault.begin(&centre)?;
        watched.while_away(away);
        fault.end(&centre)?;
        let back = Instant::now();
        watched.until_good()?;
        returns.push(back.elapsed().as_secs_f64());
    }
    drop(agent);

    let returns = Summary::of(returns);
    findings.state("the token lives", TTL.as_secs_f64(), "s");
    findings.state("kept for", begun.elapsed().as_secs_f64(), "s");
    findings.state("looks into the file", u64_as_f64(watched.looks), "");
    findings.exactly("of them a dead token in it", watched.dead, "", 0);
    findings.state(
        "faults",
        vctl_tests::load::stats::count_as_f64(returns.count),
        "",
    );
    findings.at_most(
        "a good token again after the server's return",
        returns.max,
        "s",
        5.0,
    );
    findings.keep("returns_s", &returns)?;

    let warm = machine.times_of_a_warm_token(bench.full_or_short(200, 20))?;
    findings.at_most("vctl token, warm, p50", warm.p50, "ms", 3.0);
    findings.keep("warm_token_ms", &warm)?;
    Ok(findings)
}

impl Fault {
    fn begin(self, centre: &Centre) -> Result<()> {
        match self {
            Self::Restarted => centre.bao.kill(),
            Self::Sealed => centre.bao.seal(),
            Self::Silent => centre.bao.pause(),
        }
    }

    fn end(self, centre: &Centre) -> Result<()> {
        match self {
            Self::Restarted => centre.bao.start(),
            Self::Sealed => centre.bao.unseal(),
            Self::Silent => centre.bao.go_on(),
        }
    }
}

/// A machine that logs in by AppRole.
struct Machine<'a> {
    centre: &'a Centre,
    home: PathBuf,
    ids: [String; 2],
}

impl<'a> Machine<'a> {
    fn new(centre: &'a Centre, home: &Path) -> Result<Self> {
        let ids = centre.machine_login("bench-token", 10, 45)?;
        Ok(Self {
            centre,
            home: home.to_owned(),
            ids: ids.map(|id| id.expose().to_owned()),
        })
    }

    fn vctl(&self, args: &[&str]) -> Command {
        let mut command =
            Command::new(Programs::find().map_or_else(|_| "vctl".into(), |programs| programs.vctl));
        command
            .args(args)
            .env_clear()
            .env("HOME", &self.home)
            .envs(self.centre.environment())
            .envs([
                ("VCTL_ROLE_ID", &self.ids[0]),
                ("VCTL_SECRET_ID", &self.ids[1]),
            ])
            .stdin(Stdio::null());
        command
    }

    /// Measures whole processes that find a good token, in milliseconds.
    fn times_of_a_warm_token(&self, rounds: u32) -> Result<Summary> {
        let admin = self.centre.bao.admin()?;
        admin.post(
            "auth/approle/role/bench-token",
            &json!({"token_policies": ["vctl-user"], "token_ttl": "1h", "token_max_ttl": "2h"}),
        )?;
        self.vctl(&["logout"]).stderr(Stdio::null()).status()?;
        self.vctl(&["token"]).stdout(Stdio::null()).status()?;
        let mut samples = Vec::new();
        for _ in 0..rounds {
            let begun = Instant::now();
            let status = self.vctl(&["token"]).stdout(Stdio::null()).status()?;
            samples.push(begun.elapsed().as_secs_f64() * 1e3);
            ensure!(status.success(), "`vctl token` ended with {status}");
        }
        Ok(Summary::of(samples))
    }
}

/// Ended with the scenario.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The token file, with the server's opinion about the token in it.
struct Watched<'a> {
    centre: &'a Centre,
    path: PathBuf,
    /// Last good token, and the time until which it is surely valid.
    last: Option<(String, Instant)>,
    looks: u64,
    dead: u64,
}

impl<'a> Watched<'a> {
    fn new(centre: &'a Centre, path: PathBuf) -> Self {
        Self {
            centre,
            path,
            last: None,
            looks: 0,
            dead: 0,
        }
    }

    /// Reads the file once, while the server runs. Returns true when there is a good token.
    fn look(&mut self) -> Result<bool> {
        self.looks += 1;
        let Ok(token) = fs::read_to_string(&self.path) else {
            return Ok(false);
        };
        let asked = Instant::now();
        let client = self
            .centre
            .bao
            .anonymous()?
            .with_token(Secret::new(&*token));
        let reply = client.call("GET", "auth/token/lookup-self", None)?;
        if let Some(left) = reply.body["data"]["ttl"].as_u64() {
            self.last = Some((token, asked + Duration::from_secs(left + 1)));
            return Ok(true);
        }
        // Either the agent replaced the token during the request, or the token is dead and still in the file.
        let still_there = fs::read_to_string(&self.path).is_ok_and(|now| now == token);
        self.dead += u64::from(still_there && reply.status == 403);
        Ok(false)
    }

    fn for_a_while(&mut self, lasting: Duration) -> Result<()> {
        let end = Instant::now() + lasting;
        while Instant::now() < end {
            self.look()?;
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn until_good(&mut self) -> Result<()> {
        let begun = Instant::now();
        while !self.look()? {
            if begun.elapsed() > Duration::from_mins(1) {
                bail!("there is no good token within a minute");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Reads the file while the server cannot be asked. An expired token must not be in it.
    fn while_away(&mut self, lasting: Duration) {
        let end = Instant::now() + lasting;
        while Instant::now() < end {
            self.looks += 1;
            if let (Ok(token), Some((last, until))) = (fs::read_to_string(&self.path), &self.last) {
                let over = token == *last && Instant::now() > *until + SLACK;
                self.dead += u64::from(over);
            }
            sleep(Duration::from_millis(100));
        }
    }
}
