//! `cargo xtask kernels`: runs specs on Debian's kernels, on other layouts of cgroups, and without parts of a kernel.

mod boot;
mod matrix;
mod page;
mod programs;
mod report;
mod run;
mod small;
mod tree;

// The guest of the bench has the same initramfs and the same source of kernels.
#[path = "../../../tests/src/bin/bench/guest/cpio.rs"]
mod cpio;
#[path = "../../../tests/src/bin/bench/guest/image.rs"]
mod image;
#[path = "../../../tests/src/bin/bench/guest/kernel.rs"]
mod kernel;

use anyhow::{Context as _, Result, ensure};

use crate::command::say;
use crate::packages::{self, FOR_ARM64, FOR_DEMO, FOR_GUESTS, FOR_TEST, FOR_TREES};
use crate::versions::machine::Machine;
use crate::versions::report::{commit, now};
use matrix::{CELLS, Cell, Place};
use report::Report;
use run::Runner;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// Run only the cell that CI runs: two logins on Debian 12's kernel
    #[arg(long, conflicts_with = "cells")]
    short: bool,
    /// Copy the report to docs/bench and write the table in docs/kernels.md
    #[arg(long)]
    record: bool,
    /// Names of cells, such as `6.12 arm64`; without it all cells
    cells: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let cells = chosen(options)?;
    let commit = commit()?;
    ensure!(
        !(options.record && commit.is_dirty),
        "`--record` needs a commit of the tested code: `git status` lists changes outside of docs"
    );
    packages::ensure(&needs(&cells), options.yes)?;
    let machine = Machine::describe();
    let began_at = now()?;
    let runner = Runner::build(&cells, options.short)?;
    let mut runs = Vec::new();
    for cell in cells {
        let run = runner.run(cell);
        runs.push(run.with_context(|| format!("cell `{}`", cell.name))?);
    }
    let report = Report {
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        commit,
        began_at,
        machine,
        runs,
    };
    let written = report.write()?;
    say(&format!(
        "\n{}\nReport: {}",
        page::table([(None, &report)].into_iter()),
        written.display()
    ));
    if options.record {
        report.record(&options.cells)?;
        page::write()?;
    }
    ensure!(report.is_green(), "specs failed");
    Ok(())
}

fn chosen(options: &Options) -> Result<Vec<&'static Cell>> {
    if options.short {
        return Ok(CELLS.iter().filter(|cell| cell.is_short).collect());
    }
    let mut cells = Vec::new();
    for name in &options.cells {
        let found = CELLS.iter().find(|cell| cell.name == name);
        let names = || {
            CELLS
                .iter()
                .map(|cell| cell.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        cells.push(found.with_context(|| format!("cell `{name}` is not one of {}", names()))?);
    }
    if cells.is_empty() {
        cells.extend(CELLS);
    }
    Ok(cells)
}

/// Returns the packages that these cells need.
fn needs(cells: &[&Cell]) -> Vec<packages::Need> {
    let mut needs = FOR_GUESTS.to_vec();
    for cell in cells {
        match &cell.place {
            Place::Here => needs.extend([FOR_DEMO, FOR_TEST].concat()),
            Place::Debian { .. } => needs.extend(FOR_TREES),
            Place::Small { kernel, .. } if kernel.architecture == "arm64" => {
                needs.extend(FOR_ARM64);
            }
            Place::Small { .. } => {}
        }
    }
    needs.sort_unstable();
    needs.dedup();
    needs
}
