//! `vctl doctor`

use std::io::{self, IsTerminal as _, Write as _};

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::doctor::{self, Check, CheckOutcome, CheckReport, Observer, Runner, run_all};
use crate::error::{CliError, Stop};
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::{Layout, Screen, notice};

/// Find out what is wrong between this machine and the centre
///
/// Looks at one thing after the other, in the order in which every command depends on them, and says how
/// long each took. What cannot work since something before it does not is skipped, so what fails first is
/// what is to be put right. Nothing is changed, and nobody is asked to log in.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl doctor                 Everything, and what to do about what is wrong
  vctl doctor -o json | jq '.probes[] | select(.result == \"fail\")'",
after_help = "\
What is looked at:
  config                  the settings themselves
  vault dns, tcp, tls     the way to Vault: its name, who listens, whom its certificate is for and until when
  vault seal              that Vault answers, and serves
  clock                   this machine's clock against that of Vault
  token                   whose it is, for how long, and by Vault's own word
  capabilities            what its policies reach of what the commands need
  ssh ca                  that certificates are signed, and for this token
  db dns, tcp, tls        the way to Postgres
  db login                that a login from Vault is let in
  db clock                Postgres' clock against that of Vault
  schema                  that the schema fits this vctl
The exit status is that of the first failure; a warning is none.")]
pub(crate) struct DoctorArgs {
    /// Form of the output
    #[arg(long, short, value_name = "FORM", value_parser = Form::among(Form::OF_DOCUMENT), default_value = "table")]
    output: Form,
}

pub(crate) fn run(args: &DoctorArgs, globals: &Globals) -> Result<(), Stop> {
    // What is wrong with it is the first thing to be found.
    let loaded = globals.load();
    let screen = Screen::for_form(args.output);
    let mut watch = if args.output.is_for_people() {
        Page::new(screen)
    } else {
        Page::silent(screen)
    };
    let reports = context::run_without_store(async {
        let mut runner = Runner::new(&mut watch);
        run_all(&loaded, globals.interaction(), &mut runner).await;
        Ok(runner.into_reports())
    })?;
    let Page {
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

/// Writes each probe as soon as it is made.
struct Page {
    screen: Screen,
    layout: Layout,
    /// Whether there is anything to see before the end.
    streams: bool,
    /// Whether somebody sees what stands there for a moment only.
    passing: bool,
    /// Whether such a thing stands there now.
    shown: bool,
    written: io::Result<()>,
}

impl Page {
    fn new(screen: Screen) -> Self {
        Self {
            layout: screen.layout(false),
            screen,
            streams: true,
            passing: io::stderr().is_terminal(),
            shown: false,
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

impl Observer for Page {
    fn slow(&mut self, probe: Check) {
        if self.passing {
            notice::progress(&format!("waiting for {} ...", probe.name()));
            self.shown = true;
        }
    }

    fn done(&mut self, report: &CheckReport) {
        if std::mem::take(&mut self.shown) {
            notice::progress("");
        }
        if self.streams && self.written.is_ok() {
            let written = doctor::text::write(&mut self.screen, report, self.layout);
            self.written = written.and_then(|()| self.screen.flush());
        }
    }
}
