//! `vctl ssh HOST -- true` beside OpenSSH with a certificate that is ready.
//!
//! Ours looks the host up, has a key signed, gets database credentials and commits the access row; theirs
//! only connects. Rounds are interleaved, so that all meet the same machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use vctl_tests::centre::{Centre, DATABASE, Host, Options, Secret};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::Summary;

use crate::report::Findings;
use crate::rig::Bench;

const NAME: &str = "bench-ssh";

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options {
        host: true,
        ..Options::default()
    })?;
    let host = centre.host.as_ref().context("there is no host")?;
    let operator = Operator::new(&centre, host, &bench.directory("home-")?)?;
    let commands: [(&str, &dyn Fn() -> Command); 3] = [
        ("vctl ssh", &|| operator.vctl()),
        ("ssh", &|| operator.openssh(&[])),
        ("ssh, curve25519", &|| {
            operator.openssh(&["-o", "KexAlgorithms=curve25519-sha256"])
        }),
    ];
    let mut times = [const { Vec::new() }; 3];
    for round in 0..bench.full_or_short(60, 5) {
        for ((name, command), times) in commands.iter().zip(&mut times) {
            let (mut command, begun) = (command(), Instant::now());
            let output = command.stdin(Stdio::null()).output()?;
            let took = begun.elapsed();
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "`{name}` failed: {said}");
            // The first round warms caches.
            if round > 0 {
                times.push(took.as_secs_f64() * 1000.0);
            }
        }
    }
    let [ours, theirs, curve25519] = times.map(Summary::of);
    findings.state("vctl ssh HOST -- true, p50", ours.p50, "ms");
    findings.state(
        "ssh HOST true with a certificate that is ready, p50",
        theirs.p50,
        "ms",
    );
    findings.state(
        "the same, told to use curve25519, p50",
        curve25519.p50,
        "ms",
    );
    findings.at_most("vctl ssh / ssh", ours.p50 / theirs.p50, "", 0.35);
    findings.at_most(
        "vctl ssh / ssh, curve25519",
        ours.p50 / curve25519.p50,
        "",
        0.5,
    );
    findings.keep("vctl_ms", &ours)?;
    findings.keep("ssh_ms", &theirs)?;
    findings.keep("ssh_curve25519_ms", &curve25519)?;
    Ok(findings)
}

/// Somebody who is logged in to Vault, knows the host, and has a certificate beside.
struct Operator<'a> {
    centre: &'a Centre,
    host: &'a Host,
    home: PathBuf,
    vctl: PathBuf,
}

impl<'a> Operator<'a> {
    fn new(centre: &'a Centre, host: &'a Host, home: &Path) -> Result<Self> {
        let operator = Self {
            centre,
            host,
            home: home.to_owned(),
            vctl: Programs::find()?.vctl,
        };
        operator.log_in()?;
        let sql = format!(
            "insert into vctl.servers (hostname, ip, ssh_port, ssh_user) \
             values ('{NAME}', '127.0.0.1', {}, '{}')",
            host.port(),
            host.user()
        );
        centre.postgres.psql(DATABASE, &sql)?;
        fs::create_dir(home.join(".ssh"))?;
        let known = format!("{NAME} {}\n", host.public_key());
        fs::write(home.join(".ssh/known_hosts"), known)?;
        operator.make_certificate()?;
        Ok(operator)
    }

    fn log_in(&self) -> Result<()> {
        let admin = self.centre.bao.admin()?;
        let password = Secret::random()?;
        let user = json!({"password": password.expose(), "policies": ["vctl-user", "vctl-ssh"]});
        admin.post(&format!("auth/userpass/users/{NAME}"), &user)?;
        let file = self.home.join("password");
        fs::write(&file, password.expose())?;
        let mut login = self.with_centre();
        login
            .args(["login", "--username", NAME, "--password-stdin"])
            .stdin(fs::File::open(&file)?);
        let output = login.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "cannot log in: {said}");
        Ok(())
    }

    fn make_certificate(&self) -> Result<()> {
        let key = self.home.join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status()?;
        ensure!(made.success(), "cannot make a key");
        let wish = json!({
            "public_key": fs::read_to_string(self.home.join("key.pub"))?,
            "valid_principals": self.host.user(),
            "ttl": "1800s",
        });
        let signed = self.centre.bao.admin()?.post("ssh/sign/sre-core", &wish)?;
        let certificate = signed["data"]["signed_key"]
            .as_str()
            .context("nothing was signed")?;
        Ok(fs::write(self.home.join("key-cert.pub"), certificate)?)
    }

    fn with_centre(&self) -> Command {
        let mut command = Command::new(&self.vctl);
        command
            .env_clear()
            .env("HOME", &self.home)
            .envs(self.centre.environment());
        command
    }

    fn vctl(&self) -> Command {
        let mut command = self.with_centre();
        command.args(["ssh", "-q", "--server", NAME, "--", "true"]);
        command
    }

    fn openssh(&self, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command
            .env_clear()
            .env("HOME", &self.home)
            .args([
                "-F",
                "/dev/null",
                "-o",
                "BatchMode=yes",
                "-o",
                "IdentitiesOnly=yes",
            ])
            .arg("-o")
            .arg(format!(
                "UserKnownHostsFile={}",
                self.host.known_hosts().display()
            ))
            .args(options)
            .arg("-i")
            .arg(self.home.join("key"))
            .args(["-p", &self.host.port().to_string()])
            .arg(format!("{}@127.0.0.1", self.host.user()))
            .arg("true");
        command
    }
}
