//! `cargo xtask stack`: secrets server, Postgres and sshd on loopback, to try vctl with.

use anyhow::Result;

use crate::command::{become_program, build_programs};
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
    become_program(&build_programs(&[])?, "stack", arguments)
}
