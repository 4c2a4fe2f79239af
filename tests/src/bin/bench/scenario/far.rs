//! Commands far from Vault, Postgres and the host, compared with the same commands near them.
//!
//! The difference divided by the round-trip time is the number of round trips that the user waits for. Requests that run
//! side by side cost one. The numbers by server count each of them; flights count those that follow each other.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use vctl_tests::centre::{Centre, FarServers, Options};

use super::operator::{Operator, Way};
use super::ssh::{NAME, interleaved};
use crate::report::Findings;
use crate::rig::Bench;

const FAR: &str = "bench-far";

/// Commands, and the highest number of round trips that a user may wait for with a shared database login.
const COMMANDS: [(&[&str], f64); 5] = [
    (&["list"], 7.5),
    (&["audit"], 7.5),
    (&["session", "--list"], 7.5),
    (&["status"], 10.0),
    (&["token"], 0.5),
];

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options {
        host: true,
        ..Options::default()
    })?;
    let host = centre.host.as_ref().context("there is no host")?;
    let near = Operator::new(&centre, host, &bench.directory("home-")?)?;
    let rounds = bench.full_or_short(20, 3);
    for round_trip in [Duration::from_millis(50), Duration::from_millis(150)] {
        let servers = FarServers::start(&centre, round_trip)?;
        let name = match round_trip.as_millis() {
            50 => FAR,
            _ => "bench-very-far",
        };
        let way = Way {
            name,
            ssh_port: servers.ssh_port(),
            environment: servers.environment(),
        };
        let far = Operator::by(way, &centre, host, &bench.directory("home-")?)?;
        let lines = Lines {
            servers: &servers,
            round_trip,
            rounds,
        };
        for (args, limit) in COMMANDS {
            let what = format!("vctl {}", args.join(" "));
            let command = |at: &Operator<'_>| {
                let mut command = at.with_centre();
                command.args(args);
                command
            };
            lines.measure(
                &what,
                [&|| command(&near), &|| command(&far)],
                limit,
                &mut findings,
            )?;
        }
        lines.logins([&near, &far], name, &mut findings)?;
    }
    Ok(findings)
}

/// The delay lines of one part of the run.
struct Lines<'a> {
    servers: &'a FarServers,
    round_trip: Duration,
    rounds: u32,
}

impl Lines<'_> {
    fn ms(&self) -> f64 {
        self.round_trip.as_secs_f64() * 1e3
    }

    /// States the round trips of a command that runs near and far.
    fn measure(
        &self,
        what: &str,
        [near, far]: [&dyn Fn() -> Command; 2],
        limit: f64,
        findings: &mut Findings,
    ) -> Result<()> {
        let [near, far_ms] = interleaved(self.rounds, [(what, near), (what, far)])?;
        let at = format!("{what}, {} ms away", self.ms());
        findings.state(&format!("{at}, p50"), far_ms.p50, "ms");
        let waited = (far_ms.p50 - near.p50) / self.ms();
        findings.at_most(&format!("{at}, waited for"), waited, "round trips", limit);
        self.by_server(&at, far(), findings)?;
        findings.keep(&format!("{at}, ms"), &far_ms)
    }

    /// States the round trips to each server, from one run.
    fn by_server(&self, at: &str, mut command: Command, findings: &mut Findings) -> Result<()> {
        self.servers.take();
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        ensure!(status.success(), "`{at}` ended with {status}");
        let crossings = self.servers.take();
        let name = format!("{at}, flights");
        findings.state(&name, f64::from(crossings.flights), "round trips");
        for (server, round_trips) in crossings.round_trips() {
            let name = format!("{at}, to {server}");
            findings.state(&name, f64::from(round_trips), "round trips");
        }
        Ok(())
    }

    /// Compares `vctl ssh` with OpenSSH, which has its certificate already.
    fn logins(
        &self,
        [near, far]: [&Operator<'_>; 2],
        name: &str,
        findings: &mut Findings,
    ) -> Result<()> {
        let curve25519 = ["-o", "KexAlgorithms=curve25519-sha256"];
        let ours = |at: &Operator<'_>, name: &str| at.vctl(&[], &[name, "--", "true"]);
        let theirs = |at: &Operator<'_>, name: &str| at.openssh(&curve25519, &[name, "true"]);
        let [ours_near, theirs_near, ours_far, theirs_far] = interleaved(
            self.rounds,
            [
                ("vctl ssh, near", &|| ours(near, NAME)),
                ("ssh, near", &|| theirs(near, NAME)),
                ("vctl ssh, far", &|| ours(far, name)),
                ("ssh, far", &|| theirs(far, name)),
            ],
        )?;
        let ms = self.ms();
        for (what, near, far) in [
            ("vctl ssh HOST -- true", &ours_near, &ours_far),
            (
                "ssh HOST true with a certificate",
                &theirs_near,
                &theirs_far,
            ),
        ] {
            let at = format!("{what}, {ms} ms away");
            findings.state(&format!("{at}, p50"), far.p50, "ms");
            let waited = (far.p50 - near.p50) / ms;
            findings.state(&format!("{at}, waited for"), waited, "round trips");
            findings.keep(&format!("{at}, ms"), far)?;
        }
        let ratio = ours_far.p50 / theirs_far.p50;
        findings.at_most(&format!("vctl ssh / ssh, {ms} ms away"), ratio, "", 1.0);
        let at = format!("vctl ssh, {ms} ms away");
        self.by_server(&at, ours(far, name), findings)?;
        self.by_server(&format!("ssh, {ms} ms away"), theirs(far, name), findings)
    }
}
