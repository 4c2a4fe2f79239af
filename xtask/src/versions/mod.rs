//! `cargo xtask versions`: runs specs on Postgres 14 to 18, and on HashiCorp Vault if it is on PATH.

mod page;
mod postgres;
mod run;
mod short_form;

use std::path::Path;

use anyhow::{Result, ensure};

use crate::command::{Built, say};
use crate::packages::{self, FOR_DEMO, FOR_TEST, for_centre};
use crate::recorded::{self, Report};
use crate::specs;
use page::PAGE;
use postgres::{BUILDS, build_of};
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
    let commit = recorded::commit(options.record)?;
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
    let mut report = Report::begin(commit)?;
    for servers in &servers {
        report.runs.push(run::specs_on(servers, form, &programs)?);
    }
    let written = Path::new("target/versions").join(format!("{}.json", form.name()));
    report.write(&written)?;
    say(&format!(
        "\n{}\nReport: {}",
        page::table([(None, &report)].into_iter()),
        written.display()
    ));
    if options.record {
        report.record(&PAGE, &[form.name().to_owned()])?;
        PAGE.write(&page::of_reports(Path::new("."))?)?;
    }
    let is_green = report.runs.iter().all(|run| run.failed.is_empty());
    ensure!(is_green, "specs failed");
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
