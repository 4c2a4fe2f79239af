//! `cargo xtask bench`: measures what the project promises, on release builds.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{as_root, build, cargo, run as run_shown, say};
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
    say("Building everything as it is released: some minutes the first time.");
    let built = build(&[
        "build",
        "--release",
        "-p",
        "vctl-agent",
        "-p",
        "vctl",
        "-p",
        "vctl-tests",
        "--bins",
    ])?;
    // Fills a spool through the agent's own writer.
    run_shown(&mut cargo(&[
        "build",
        "--release",
        "-p",
        "vctl-agent",
        "--example",
        "synthetic_spool",
    ]))?;
    let bench = built
        .iter()
        .find(|built| built.name == "bench")
        .context("no bench was built")?;
    let program = bench
        .executable
        .to_str()
        .context("the target directory's path is no UTF-8")?;
    let mut command = as_root(program);
    command.arg("--commit").arg(git(&["rev-parse", "HEAD"])?);
    if !git(&["status", "--porcelain"])?.is_empty() {
        command.arg("--dirty");
    }
    command.args(&options.arguments);
    // Replaces us, so that Ctrl-C and kill reach the bench itself.
    Err(command.exec()).with_context(|| format!("cannot run `{program}` as root"))
}

fn git(arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).output();
    let output = output.context("cannot run `git`")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
