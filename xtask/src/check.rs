//! `cargo xtask check`: formatting, lints, house rules, carried crates; with `--macos`, that `vctl` builds for macOS.

use anyhow::Result;

use crate::command::{self, cargo};
use crate::{macos, third_party, tidy};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Check only that `vctl` compiles for macOS; installs the standard library and Zig once
    #[arg(long)]
    macos: bool,
    /// Fail if the tools for macOS cannot be installed; otherwise only a text search for Linux interfaces runs
    #[arg(long, requires = "macos")]
    require_compiler: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.macos {
        return macos::run(options.require_compiler);
    }
    // It takes a second, and clippy minutes.
    tidy::run(&tidy::Options::default())?;
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    command::run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]))?;
    third_party::run(&third_party::Options::default())
}
