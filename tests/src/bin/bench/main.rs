//! `bench`: measures what the project promises and compares it with its limits.
//!
//! `cargo xtask bench` starts it, after it has built the other programs into the same directory.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "stdout is the table, stderr says what takes so long"
)]

mod guest;
mod machine;
mod process;
mod report;
mod rig;
mod scenario;
mod stored;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use report::{Report, Section};
use rig::Bench;
use scenario::Scenario;

/// Measure the agent on this machine and in a guest that counts instructions
#[derive(Debug, Parser)]
struct Options {
    /// Scenarios to measure; all scenarios except `soak` by default
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Run for seconds instead of minutes, to check that the scenarios work
    #[arg(long)]
    short: bool,
    /// Minutes of load in `soak`
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// File for the report
    #[arg(long, default_value = "target/bench/report.json")]
    out: PathBuf,
    /// Also measure auditd; once audit is enabled, it slows every later task of this boot
    #[arg(long)]
    auditd: bool,
    /// Directory for spools and ledgers, on the disk that is to be measured
    #[arg(long, default_value = "/var/tmp")]
    disk: PathBuf,
    /// Directory for downloaded kernels and the console output of guests
    #[arg(long, default_value = "target/bench")]
    cache: PathBuf,
    /// Commit of the built programs
    #[arg(long, default_value = "unknown")]
    commit: String,
    /// The work tree differs from the commit
    #[arg(long)]
    dirty: bool,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    ensure!(
        nix::unistd::geteuid().is_root(),
        "loading a probe needs root: run `cargo xtask bench` as root"
    );
    let scenarios = if options.scenarios.is_empty() {
        Scenario::all_but_soak()
    } else {
        options.scenarios.clone()
    };
    let bench = Bench::new(&options)?;
    let began_at = vctl_common::time::wall_now().duration_since(UNIX_EPOCH);
    let mut report = Report {
        command: report::command_line(std::env::args()),
        commit: options.commit,
        dirty: options.dirty,
        short: options.short,
        began_at: began_at.context("the clock is before 1970")?.as_secs(),
        machine: machine::Machine::describe(),
        sections: Vec::new(),
    };
    for scenario in scenarios {
        eprintln!("measuring {scenario} …");
        let section = measure(scenario, &bench);
        println!("{}", section.table());
        report.sections.push(section);
        // Written after each scenario, so that an interrupted run keeps its results.
        report.write(&options.out)?;
    }
    eprintln!("report: {}", options.out.display());
    let met = report.sections.iter().all(Section::met);
    Ok(if met {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A scenario that fails is part of the report. The other scenarios still run.
fn measure(scenario: Scenario, bench: &Bench) -> Section {
    let begin = Instant::now();
    let result = scenario.run(bench);
    let seconds = begin.elapsed().as_secs_f64();
    let (findings, error) = match result {
        Ok(findings) => (findings, None),
        Err(error) => (report::Findings::default(), Some(format!("{error:#}"))),
    };
    Section {
        scenario: scenario.to_string(),
        seconds,
        figures: findings.figures,
        raw: findings.raw.into(),
        error,
    }
}
