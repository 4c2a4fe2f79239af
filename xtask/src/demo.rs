//! `cargo xtask demo`: shows on one machine, with one command, which user did what.

use anyhow::Result;

use crate::command::{become_program, build_program, say};
use crate::packages;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Leave everything running afterwards, to log in by hand
    #[arg(long)]
    keep: bool,
    /// Also play the second act: through OpenBao and Postgres, to `vctl audit` and `vctl session`
    #[arg(long)]
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
    let built = build_program("demo")?;
    let mut arguments = Vec::new();
    if options.keep {
        arguments.push("--keep");
    }
    if options.centre {
        arguments.push("--centre");
    }
    become_program(&built, "demo", &arguments)
}
