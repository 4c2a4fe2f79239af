//! `vctl audit verify` of a large audit log: time, and memory with the same number of signatures in a smaller log.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use uuid::Uuid;
use vctl_tests::centre::{Centre, Client, DATABASE, Options};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::u64_as_f64;

use crate::process::peak_memory_reading;
use crate::report::Findings;
use crate::rig::{Bench, MIB};

const CA: &str = "SHA256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
/// The serials are this number and the next ones.
const FIRST_SERIAL: u64 = 1 << 60;
/// Time that the log covers: most of one day.
const MILLISECONDS: u64 = 23 * 3600 * 1000;

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options::default())?;
    let user = centre.person("bench-verify", &["vctl-user", "vctl-ssh", "vctl-auditor"])?;
    let day = centre.ask("select to_char(now() - interval '1 day', 'YYYY-MM-DD')")?;
    let templates = Templates::of(&centre, &user)?;
    let home = bench.directory("home-")?;
    let signatures = bench.full_or_short(17_000, 200);
    add_rows(&centre, &day, signatures)?;
    for mib in [bench.full_or_short(256, 4), bench.full_or_short(2048, 16)] {
        let mut command = Command::new(Programs::find()?.vctl);
        command
            .args(["audit", "verify", "--audit-log", "-"])
            .env_clear()
            .env("HOME", &home)
            .envs(centre.environment())
            .env("VAULT_TOKEN", user.token().expose());
        let log = SyntheticLog {
            day: &day,
            signatures,
            bytes: mib << 20,
        };
        let begun = Instant::now();
        let peak = peak_memory_reading(command, |input| log.write(&templates, input))?;
        let rate = u64_as_f64(mib) / begun.elapsed().as_secs_f64();
        let name = format!("{mib} MiB, {signatures} signatures");
        findings.at_most(&format!("{name}, memory"), peak * 1024.0 / MIB, "MiB", 48.0);
        findings.state(&format!("{name}, rate"), rate, "MiB/s");
    }
    Ok(findings)
}

/// Adds an access row for each signature of the log, one second after it.
fn add_rows(centre: &Centre, day: &str, signatures: u64) -> Result<()> {
    let step = MILLISECONDS / signatures;
    let sql = format!(
        "insert into vctl.ca_keys (fingerprint, public_key, mount) values ('{CA}', 'ssh-ed25519 AAAA', 'ssh');
         update vctl.schema_migration set applied_at = now() - interval '7 days' where version = 3;
         insert into vctl.access_log (vault_user, opened_at, closed_at, result, hostname, login_user, ca_fingerprint,
            cert_serial)
         select 'userpass-bench-verify', opened_at, opened_at, 'ok', 'web-' || n % 100, 'ubuntu', '{CA}',
            {FIRST_SERIAL} + n
         from generate_series(0, {signatures} - 1) n,
            lateral (select '{day}'::timestamp at time zone 'utc' + interval '1 second'
                + n * {step} * interval '1 millisecond' as opened_at) at"
    );
    centre.postgres.psql(DATABASE, &sql)?;
    Ok(())
}

/// Request and response as the server wrote them.
struct Pair {
    lines: String,
    time: [String; 2],
    id: String,
    serial: String,
}

struct Templates {
    signing: Pair,
    other: Pair,
}

impl Templates {
    fn of(centre: &Centre, user: &Client) -> Result<Self> {
        let request = json!({"public_key": KEY, "valid_principals": "root"});
        user.post("ssh/sign/sre-core", &request)?;
        user.get("auth/token/lookup-self")?;
        let log = fs::read_to_string(centre.bao.audit_log())?;
        Ok(Self {
            signing: Pair::last(&log, "ssh/sign/sre-core")?,
            other: Pair::last(&log, "auth/token/lookup-self")?,
        })
    }
}

impl Pair {
    /// Returns the last two lines with this path.
    fn last(log: &str, path: &str) -> Result<Self> {
        let with_path = log.lines().filter(|line| {
            let path = format!("\"path\":\"{path}\"");
            line.contains(&path)
        });
        let lines: Vec<&str> = with_path.collect();
        let [.., request, response] = &lines[..] else {
            anyhow::bail!("the log has no request for {path}");
        };
        let text = |value: &Value| value.as_str().map(str::to_owned).context("not a text");
        let first: Value = serde_json::from_str(request)?;
        let second: Value = serde_json::from_str(response)?;
        let serial = &second["response"]["data"]["serial_number"];
        Ok(Self {
            lines: format!("{request}\n{response}\n"),
            time: [text(&first["time"])?, text(&second["time"])?],
            id: text(&first["request"]["id"])?,
            // Only a signature has one.
            serial: text(serial).unwrap_or_else(|_| "\0".to_owned()),
        })
    }

    fn at(&self, time: &str, id: &str, serial: &str) -> String {
        let [first, second] = &self.time;
        let lines = self.lines.replace(first, time).replace(second, time);
        lines.replace(&self.id, id).replace(&self.serial, serial)
    }
}

/// A log of one day, with one signature after the same number of other requests.
struct SyntheticLog<'a> {
    day: &'a str,
    signatures: u64,
    bytes: u64,
}

impl SyntheticLog<'_> {
    fn write(&self, templates: &Templates, out: impl Write) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, out);
        let signing = templates.signing.lines.len() as u64;
        let rest = self.bytes.saturating_sub(self.signatures * signing);
        let others = rest / self.signatures / templates.other.lines.len() as u64;
        let step = MILLISECONDS / self.signatures;
        for number in 0..self.signatures {
            let time = self.time(number * step);
            let serial = format!("{:x}", FIRST_SERIAL + number);
            let lines = templates.signing.at(&time, &new_id(), &serial);
            out.write_all(lines.as_bytes())?;
            for _ in 0..others {
                let lines = templates.other.at(&time, &new_id(), "");
                out.write_all(lines.as_bytes())?;
            }
        }
        out.flush()
    }

    fn time(&self, milliseconds: u64) -> String {
        let seconds = milliseconds / 1000;
        let (hour, minute) = (seconds / 3600, seconds / 60 % 60);
        let (second, millisecond) = (seconds % 60, milliseconds % 1000);
        format!(
            "{}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z",
            self.day
        )
    }
}

fn new_id() -> String {
    Uuid::now_v7().to_string()
}
