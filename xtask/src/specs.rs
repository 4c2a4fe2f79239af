//! The programs of the specs: how a task builds them, and the variables that they need.

use std::path::PathBuf;

use anyhow::Result;

use crate::command::{Built, build, build_programs, say};

/// Builds the programs and the specs, but no tests of the other crates.
pub(crate) fn build_alone() -> Result<Vec<Built>> {
    say("Building vctl-agent, vctl and the specs.");
    build_programs(&[])?;
    build(&[
        "test",
        "-p",
        "vctl-tests",
        "--lib",
        "--test",
        "attacks",
        "--test",
        "centre",
        "--test",
        "specs",
        "--no-run",
    ])
}

/// Number of specs that run at the same time: more than cores, because a spec waits for servers most of its time.
pub(crate) fn threads() -> usize {
    let chosen = std::env::var("RUST_TEST_THREADS").ok();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let chosen = chosen.and_then(|number| number.parse().ok());
    chosen.unwrap_or_else(|| cores() + cores().div_ceil(2))
}

/// Returns variables that let a spec build with the toolchain of this task: sudo hides it.
pub(crate) fn toolchain() -> Vec<String> {
    let Some(cargo) = std::env::var_os("CARGO").map(PathBuf::from) else {
        return Vec::new();
    };
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let rustc = cargo.with_file_name("rustc");
    let variables = [
        ("CARGO", Some(cargo)),
        ("RUSTC", Some(rustc)),
        ("CARGO_HOME", home),
    ];
    let variables = variables.into_iter().filter_map(|(name, path)| {
        let path = path.filter(|path| path.exists())?;
        Some(format!("{name}={}", path.display()))
    });
    variables.collect()
}
