//! `cargo xtask stack`: secrets server, Postgres and sshd on loopback, to try vctl with.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::command::{become_program, build_program};
use crate::packages;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Directory with the state of one stack; each directory is another stack
    #[arg(long, global = true, value_name = "DIRECTORY", value_parser = from_here)]
    state: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    /// Start OpenBao (or Vault), Postgres and an sshd, unless they are running
    Up(UpOptions),
    /// Stop them and undo all changes
    Down,
    /// Print the shell variables to use them as administrator: `eval "$(cargo xtask stack env)"`
    Env,
}

#[derive(clap::Args)]
struct UpOptions {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// Only the servers: no roles, no policies, no schema
    #[arg(long)]
    bare: bool,
}

/// Converts a path before the task changes its directory to the top of the repository.
fn from_here(text: &str) -> std::io::Result<PathBuf> {
    std::path::absolute(text)
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let arguments: &[_] = match &options.task {
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
    let mut arguments = [&["--called", "cargo xtask stack"], arguments].concat();
    if let Some(state) = &options.state {
        let state = state
            .to_str()
            .context("the path of `--state` is not UTF-8")?;
        arguments.extend(["--state", state]);
    }
    become_program(&build_program("stack")?, "stack", &arguments)
}
