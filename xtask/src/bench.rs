//! `cargo xtask bench`: measures what the project promises, on release builds.

use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{become_program, build_programs, cargo, run as run_shown, say};
use crate::packages;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// Scenarios and options of the bench; `-- --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    packages::ensure(packages::FOR_DEMO, options.yes)?;
    packages::ensure(packages::FOR_BENCH, options.yes)?;
    say("Building everything in the release profile; the first time takes some minutes.");
    let built = build_programs(&["--release"])?;
    // Fills a spool through the agent's own writer.
    run_shown(&mut cargo(&[
        "build",
        "--release",
        "-p",
        "vctl-agent",
        "--example",
        "synthetic_spool",
    ]))?;
    let commit = git(&["rev-parse", "HEAD"])?;
    let mut arguments = vec!["--commit", &commit];
    if !git(&["status", "--porcelain"])?.is_empty() {
        arguments.push("--dirty");
    }
    arguments.extend(options.arguments.iter().map(String::as_str));
    become_program(&built, "bench", &arguments)
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).output();
    let output = output.context("cannot run `git`")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
