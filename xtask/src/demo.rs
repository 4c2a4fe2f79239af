//! `cargo xtask demo`: one machine, one command, who did what.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::command::{as_root, build, say};
use crate::packages;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave everything running afterwards, to log in by hand
    #[arg(long)]
    keep: bool,
    /// Also play the second act: through OpenBao and Postgres, to `vctl audit` and `vctl session`
    #[arg(long, conflicts_with = "keep")]
    centre: bool,
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut needs = packages::FOR_DEMO.to_vec();
    if options.centre {
        needs.extend(packages::for_centre());
    }
    packages::ensure(&needs, options.yes)?;
    say("Building vctl-agent, vctl and the demo.");
    let built = build(&[
        "build",
        "-p",
        "vctl-agent",
        "-p",
        "vctl",
        "-p",
        "vctl-tests",
        "--bins",
    ])?;
    let demo = built
        .iter()
        .find(|built| built.name == "demo")
        .context("no demo was built")?;
    let program = demo
        .executable
        .to_str()
        .context("the target directory's path is no UTF-8")?;
    let mut command = as_root(program);
    if options.keep {
        command.arg("--keep");
    }
    if options.centre {
        command.arg("--centre");
    }
    // Replaces us, so that Ctrl-C and kill reach the demo itself.
    Err(command.exec()).with_context(|| format!("cannot run `{program}` as root"))
}
