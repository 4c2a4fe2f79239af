//! `cargo xtask stack`: secrets server, Postgres and sshd on loopback, to try vctl with.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::command::{as_root, build};
use crate::packages;

#[derive(clap::Subcommand)]
pub(crate) enum Task {
    /// Start OpenBao (or Vault), Postgres and an sshd, unless they are up
    Up(Options),
    /// End them and undo everything
    Down,
    /// Print what a shell needs to use them: `eval "$(cargo xtask stack env)"`
    Env,
}

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// The servers alone: no roles, no policies, no schema
    #[arg(long)]
    bare: bool,
}

pub(crate) fn run(task: &Task) -> Result<()> {
    let arguments: &[_] = match task {
        Task::Up(options) => {
            packages::ensure(&packages::for_centre(), options.yes)?;
            if options.bare {
                &["up", "--bare"]
            } else {
                &["up"]
            }
        }
        Task::Down => &["down"],
        Task::Env => &["env"],
    };
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
    let stack = built
        .iter()
        .find(|built| built.name == "stack")
        .context("no stack was built")?;
    let program = stack
        .executable
        .to_str()
        .context("the target directory's path is no UTF-8")?;
    // Replaces us, so that Ctrl-C reaches the stack itself.
    Err(as_root(program).args(arguments).exec())
        .with_context(|| format!("cannot run `{program}` as root"))
}
