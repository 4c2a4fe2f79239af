//! `cargo xtask check`: formatting, lints, house rules, carried crates.

use anyhow::Result;

use crate::command::{self, cargo};
use crate::{third_party, tidy};

pub(crate) fn run() -> Result<()> {
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
    tidy::run(&tidy::Options::default())?;
    third_party::run(&third_party::Options::default())
}
