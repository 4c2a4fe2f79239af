//! `vctl retention`: retention periods, stored days and warnings.

use std::io::Write as _;

use vctl_common::centre::DbRole;
use vctl_common::pg::PgError;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::retention;
use crate::retention::json::{Retention, RetentionItem};
use crate::retention::model::{Period, Periods};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, records};

/// Show retention periods, stored days and warnings
///
/// Shows which days of events and which tables are stored, and how large they are. Changes nothing. The
/// options for periods are those of `vctl prune`: a warning says which records are older.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl retention              Show stored days and tables, sizes and warnings
  vctl retention --days 30    The same with a period of 30 days for events
  vctl retention -o json      For programs: docs/retention-json.md")]
pub(crate) struct RetentionArgs {
    #[command(flatten)]
    pub(crate) periods: PeriodArgs,

    /// Output format; `wide` also shows future days
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

/// Retention periods, by kind of record.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct PeriodArgs {
    /// Days to keep events, at least 1; deleted by whole days (UTC) [default: key
    /// kernel_retention_days, 14]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    days: Option<u16>,

    /// Days to keep sessions after their end; 0 keeps them for ever [default: key
    /// session_retention_days, 365]
    #[arg(long, value_name = "N")]
    session_days: Option<Period>,

    /// Days to keep accesses; 0 keeps them for ever [default: key access_retention_days,
    /// 1095]
    #[arg(long, value_name = "N")]
    access_days: Option<Period>,
}

impl PeriodArgs {
    /// Returns the periods of the command line and, for the rest, of the configuration.
    pub(crate) fn checked(self, globals: &Globals) -> Result<Periods, CliError> {
        let config = globals.load()?.config;
        let days = self.days.map_or(config.kernel_retention_days, u32::from);
        let periods = Periods {
            events: Period::of_days(days),
            sessions: self
                .session_days
                .unwrap_or(Period::of_days(config.session_retention_days)),
            accesses: self
                .access_days
                .unwrap_or(Period::of_days(config.access_retention_days)),
        };
        match periods.conflict() {
            None => Ok(periods),
            Some(problem) => {
                let hint = "an access refers to its sessions, and a session to its events: keep accesses at least as long as sessions, and sessions at least as long as events";
                Err(CliError::new(Exit::Usage, problem).hint(hint))
            }
        }
    }
}

pub(crate) fn run(args: &RetentionArgs, globals: &Globals) -> Result<(), Stop> {
    let periods = args.periods.checked(globals)?;
    let kept = context::run(globals, async |context| {
        let client = context.connect_as(DbRole::AuditRo).await?;
        let kept = crate::retention::store::stored_records(&client, periods).await;
        Ok(kept.map_err(PgError::from)?)
    })?;
    if args.output.is_for_people() {
        let mut screen = Screen::for_people();
        let wide = args.output == OutputFormat::Wide;
        let layout = screen.layout(wide);
        retention::table::write(&mut screen, &kept, periods, wide, layout)?;
        return Ok(screen.flush()?);
    }
    let mut screen = Screen::for_programs();
    records::write(
        &mut screen,
        args.output,
        &Retention,
        &RetentionItem::all(&kept),
    )?;
    screen.flush()?;
    for warning in kept.warnings(periods) {
        notice::note(&warning);
    }
    Ok(())
}
