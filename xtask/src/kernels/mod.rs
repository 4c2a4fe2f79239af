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

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::command::say;
use crate::packages::{self, FOR_ARM64, FOR_DEMO, FOR_GUESTS, FOR_TEST, FOR_TREES};
use crate::recorded::{self, Report};
use matrix::{CELLS, Cell, Place};
use page::PAGE;
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
    let commit = recorded::commit(options.record)?;
    packages::ensure(&needs(&cells), options.yes)?;
    let mut report = Report::begin(commit)?;
    let runner = Runner::build(&cells, options.short)?;
    for cell in cells {
        let run = runner.run(cell);
        let run = run.with_context(|| format!("cell `{}`", cell.name))?;
        report.runs.push(run);
    }
    let written = Path::new("target/kernels/report.json");
    report.write(written)?;
    say(&format!(
        "\n{}\nReport: {}",
        page::table([(None, &report)].into_iter()),
        written.display()
    ));
    if options.record {
        report.record(&PAGE, &options.cells)?;
        PAGE.write(&page::of_reports(Path::new("."))?)?;
    }
    let is_green = report.runs.iter().all(|run| run.failed.is_empty());
    ensure!(is_green, "specs failed");
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
