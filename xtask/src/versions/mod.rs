//! `cargo xtask versions`: runs specs on Postgres 14 to 18, and on HashiCorp Vault if it is on PATH.

mod page;
mod postgres;
pub(crate) mod report;
mod run;
mod short_form;

// The reports of the bench describe the machine with the same fields.
#[path = "../../../tests/src/bin/bench/machine.rs"]
pub(crate) mod machine;

use anyhow::{Result, ensure};

use crate::command::{Built, say};
use crate::packages::{self, FOR_DEMO, FOR_TEST, for_centre};
use crate::specs;
use machine::Machine;
use postgres::{BUILDS, build_of};
use report::Report;
use run::{Form, Servers};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Install missing packages without asking
    #[arg(long)]
    yes: bool,
    /// Run all specs of `centre` and `attacks`: a quarter of an hour for each version
    #[arg(long)]
    full: bool,
    /// Copy the report to docs/bench and write the table in docs/versions.md
    #[arg(long)]
    record: bool,
    /// Major versions of Postgres, such as `14 18`; without it all supported versions
    versions: Vec<u32>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut builds = Vec::new();
    for &major in &options.versions {
        builds.push(build_of(major)?);
    }
    if builds.is_empty() {
        builds.extend(&BUILDS);
    }
    let commit = report::commit()?;
    ensure!(
        !(options.record && commit.is_dirty),
        "`--record` needs a commit of the tested code: `git status` lists changes outside of docs"
    );
    let needs = [FOR_DEMO, FOR_TEST, &for_centre()].concat();
    packages::ensure(&needs, options.yes)?;
    let mut servers = Vec::new();
    for build in &builds {
        servers.push(Servers::of(build)?);
    }
    // The newest Postgres also runs beside HashiCorp Vault.
    let newest = builds.iter().max_by_key(|build| build.major);
    if let (Some(newest), Some(vault)) = (newest, run::hashicorp_vault()) {
        let mut beside = Servers::of(newest)?;
        beside.vault = Some(vault);
        servers.push(beside);
    }
    let form = if options.full {
        Form::Full
    } else {
        Form::Short
    };
    let programs = specs::build_alone()?;
    let machine = Machine::describe();
    let began_at = report::now()?;
    let mut runs = Vec::new();
    for servers in &servers {
        runs.push(run::specs_on(servers, form, &programs)?);
    }
    let report = Report {
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        commit,
        began_at,
        machine,
        runs,
    };
    let written = report.write(form)?;
    say(&format!(
        "\n{}\nReport: {}",
        page::table([(None, &report)].into_iter()),
        written.display()
    ));
    if options.record {
        report.record(form)?;
        page::write()?;
    }
    ensure!(report.is_green(), "specs failed");
    Ok(())
}

/// Runs the few specs of the guard on one version, as a part of `cargo xtask test`.
pub(crate) fn guard(major: u32, specs: &[Built]) -> Result<()> {
    let servers = Servers::of(build_of(major)?)?;
    let run = run::specs_on(&servers, Form::Guard, specs)?;
    ensure!(
        run.failed.is_empty(),
        "specs failed on Postgres {}: {}",
        run.postgres,
        run.failed.join(", ")
    );
    Ok(())
}
