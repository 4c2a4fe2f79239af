//! `vctl doctor`: the checks, and their results on the terminal.

use std::io::{self, IsTerminal as _, Write as _};

use crate::centre::context;
use crate::config::globals::Globals;
use crate::doctor::{self, Check, CheckOutcome, CheckReport, Observer, Runner, run_all};
use crate::error::{CliError, Stop};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{Layout, Screen, notice};

/// Check the connections to Vault and Postgres step by step
///
/// Runs the checks in the order in which commands depend on them, and prints how long each took. Checks
/// that depend on a failed one are skipped: fix the first failure. Doctor changes nothing and never asks
/// you to log in.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl doctor      Run all checks, and print how to fix what fails
  vctl doctor -o json | jq '.probes[] | select(.result == \"fail\")'",
after_help = "\
Checks:
  config                the settings are valid
  vault dns, tcp, tls   Vault is reachable, and its certificate is valid
  vault seal            Vault answers, and is unsealed
  clock                 this machine's clock agrees with that of Vault
  token                 the token is valid: its owner and its lifetime
  capabilities          the policies allow what the commands need
  ssh ca                the SSH CA signs certificates for this token
  db dns, tcp, tls      Postgres is reachable, and its certificate is valid
  db login              Postgres accepts a login from Vault
  db clock              Postgres' clock agrees with that of Vault
  schema                the schema fits this version of vctl
  ssh config            the vctl in the lines of `vctl ssh-config` can run
The exit status is that of the first failure. A warning is not a failure.")]
pub(crate) struct DoctorArgs {
    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_parser = OutputFormat::among(OutputFormat::OF_DOCUMENT), default_value = "table")]
    output: OutputFormat,
}

pub(crate) fn run(args: &DoctorArgs, globals: &Globals) -> Result<(), Stop> {
    // Not `?`: a wrong configuration is the result of the first check.
    let loaded = globals.load();
    let screen = Screen::for_format(args.output);
    let mut watch = if args.output.is_for_people() {
        DoctorPage::new(screen)
    } else {
        DoctorPage::silent(screen)
    };
    let reports = context::run_without_store(async {
        let runner = Runner::new(&mut watch);
        run_all(&loaded, globals.interaction(), &runner).await;
        Ok(runner.into_reports())
    })?;
    let DoctorPage {
        mut screen,
        written,
        ..
    } = watch;
    written?;
    if !args.output.is_for_people() {
        doctor::text::write_for_programs(&mut screen, args.output, &reports)?;
        screen.flush()?;
    }
    first_failure(&reports)
}

fn first_failure(reports: &[CheckReport]) -> Result<(), Stop> {
    let failed: Vec<_> = reports
        .iter()
        .filter_map(|report| match report.outcome {
            CheckOutcome::Fail(exit) => Some((report.check.name(), exit)),
            _ => None,
        })
        .collect();
    let Some(&(_, exit)) = failed.first() else {
        return Ok(());
    };
    let names: Vec<String> = failed.iter().map(|(name, _)| format!("`{name}`")).collect();
    let fail = if names.len() == 1 { "fails" } else { "fail" };
    let message = format!("{} {fail}", names.join(", "));
    Err(CliError::new(exit, message).into())
}

/// Prints each check as soon as it is done.
struct DoctorPage {
    screen: Screen,
    layout: Layout,
    /// Whether results are printed before the end.
    streams: bool,
    /// Whether stderr is a terminal, for a progress line.
    has_progress: bool,
    /// Whether a progress line is on the screen now.
    in_progress: bool,
    written: io::Result<()>,
}

impl DoctorPage {
    fn new(screen: Screen) -> Self {
        Self {
            layout: screen.layout(false),
            screen,
            streams: true,
            has_progress: io::stderr().is_terminal(),
            in_progress: false,
            written: Ok(()),
        }
    }

    fn silent(screen: Screen) -> Self {
        Self {
            streams: false,
            ..Self::new(screen)
        }
    }
}

impl Observer for DoctorPage {
    fn slow(&mut self, probe: Check) {
        if self.has_progress {
            notice::progress(&format!("waiting for {} ...", probe.name()));
            self.in_progress = true;
        }
    }

    fn done(&mut self, report: &CheckReport) {
        if std::mem::take(&mut self.in_progress) {
            notice::progress("");
        }
        if self.streams && self.written.is_ok() {
            let written = doctor::text::write(&mut self.screen, report, self.layout);
            self.written = written.and_then(|()| self.screen.flush());
        }
    }
}
