//! `vctl retention`

use std::io::Write as _;

use vctl_common::centre::DbRole;
use vctl_common::pg::PgError;

use crate::args::TEMPLATE;
use crate::context;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::globals::Globals;
use crate::render::{Screen, retention};
use crate::store;
use crate::view::retention::{Keep, Periods};

/// Show what the central store keeps, since when, and what is odd about it
///
/// Reads, and changes nothing. The periods are those of `vctl prune`, to tell what should be gone.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl retention              Days of events and tables with their sizes, and warnings
  vctl retention --days 30    The same, where events are kept for 30 days")]
pub(crate) struct RetentionArgs {
    #[command(flatten)]
    pub(crate) periods: PeriodArgs,
}

/// How long what is kept.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct PeriodArgs {
    /// Days that events are kept, at least 1; they go by whole days (UTC)
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,

    /// Days that sessions are kept after their end, 0 for ever
    #[arg(long, value_name = "N", default_value = "365")]
    session_days: Keep,

    /// Days that accesses are kept, 0 for ever
    #[arg(long, value_name = "N", default_value = "1095")]
    access_days: Keep,
}

impl PeriodArgs {
    pub(crate) fn checked(self) -> Result<Periods, CliError> {
        let periods = Periods {
            events: Keep::Days(self.days),
            sessions: self.session_days,
            accesses: self.access_days,
        };
        match periods.problem() {
            None => Ok(periods),
            Some(problem) => {
                let hint = "an access leads to its sessions and a session to its events: keep the first at least as long as the last";
                Err(CliError::new(Exit::Usage, problem).hint(hint))
            }
        }
    }
}

pub(crate) fn run(args: &RetentionArgs, globals: &Globals) -> Result<(), Stop> {
    let periods = args.periods.checked()?;
    let kept = context::run(globals, async |context| {
        let client = context.pool(DbRole::AuditRo)?.get().await?;
        let kept = store::retention::kept(&client, periods).await;
        Ok(kept.map_err(PgError::from)?)
    })?;
    let mut screen = Screen::for_people();
    let layout = screen.layout(false);
    retention::write(&mut screen, &kept, periods, layout)?;
    Ok(screen.flush()?)
}
