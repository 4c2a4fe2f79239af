//! The picker with 50,000 hosts: time from a key to the complete screen.
//!
//! Measured through a terminal, so reading the key, searching and drawing all count.

use std::process::Command;

use anyhow::Result;
use vctl_tests::centre::{Centre, DATABASE, Options};
use vctl_tests::lab::Programs;
use vctl_tests::load::stats::Summary;
use vctl_tests::terminal::Terminal;

use crate::report::Findings;
use crate::rig::Bench;

const HOSTS: usize = 50_000;

/// One frame at 60 Hz.
const LIMIT_MS: f64 = 16.0;

/// Sequence at the end of each screen: it clears the rest of the screen.
const END: &str = "\u{1b}[J";

const BACKSPACE: &str = "\u{7f}";

/// Queries, each typed into an empty field: a letter that all hosts have, a whole name, two parts, and a text that
/// no host has.
const QUERIES: [&str; 5] = ["e", "web-0421", "seo db 77", "10.11 root", "zzzz"];

pub(crate) fn run(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let centre = Centre::start(&Options::default())?;
    centre.postgres.psql(
        DATABASE,
        &format!(
            "insert into vctl.servers (hostname, ip, dc) select \
             (array['web', 'db', 'cache', 'queue'])[n % 4 + 1] || '-' || lpad(n::text, 5, '0'), \
             '10.0.0.0'::inet + n, (array['seoul', 'incheon', 'busan', 'frankfurt'])[n % 4 + 1] \
             from generate_series(1, {HOSTS}) n"
        ),
    )?;
    let mut command = Command::new(Programs::find()?.vctl);
    command
        .arg("ssh")
        .env_clear()
        .env("HOME", bench.directory("home-")?)
        .env("TERM", "xterm-256color")
        .env("VAULT_TOKEN", centre.bao.root_token().expose())
        .envs(centre.environment());
    let mut terminal = Terminal::start_sized(command, 50, 120)?;
    terminal.wait_for(&format!("{HOSTS}/{HOSTS}"))?;
    let (mut longer, mut shorter, mut first) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.full_or_short(20, 2) {
        for query in QUERIES {
            for (place, key) in query.chars().enumerate() {
                let took = press(&mut terminal, &key.to_string())?;
                match (round, place) {
                    // The first round warms caches.
                    (0, _) => {}
                    (_, 0) => first.push(took),
                    _ => longer.push(took),
                }
            }
            for _ in query.chars() {
                let took = press(&mut terminal, BACKSPACE)?;
                if round > 0 {
                    shorter.push(took);
                }
            }
        }
    }
    for (name, raw, times) in [
        ("the first letter", "first_ms", first),
        ("another letter", "longer_ms", longer),
        ("a letter less", "shorter_ms", shorter),
    ] {
        let times = Summary::of(times);
        findings.state(&format!("{name}, p50"), times.p50, "ms");
        findings.at_most(&format!("{name}, p99"), times.p99, "ms", LIMIT_MS);
        findings.keep(raw, &times)?;
    }
    Ok(findings)
}

/// Returns the milliseconds until the screen was drawn again.
fn press(terminal: &mut Terminal, key: &str) -> Result<f64> {
    let took = terminal.answers(key, |shown| shown.ends_with(END))?;
    Ok(took.as_secs_f64() * 1000.0)
}
