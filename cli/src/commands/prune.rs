//! `vctl prune`

use std::io::Write as _;
use std::time::Duration;

use tokio::time::sleep;
use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError};
use vctl_common::vault::VaultError;

use super::retention::PeriodArgs;
use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::retention;
use crate::retention::model::{Periods, Pruned};
use crate::ui::ask::{Interaction, confirmed};
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Days whose partitions are made ahead.
const AHEAD: i32 = 7;
/// Somebody reads the oldest day for longer than this only by mistake.
const BUSY_TRIES: u32 = 12;
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Delete what the central store has kept long enough
///
/// Events go by whole days, each in an instant however large it is. A session goes when it has ended and
/// its events are gone, an access when its sessions are. A session that is still open stays. Also makes
/// the partitions of the next seven days. Needs the policy `vctl-pruner`; `--dry-run` also works with
/// `vctl-auditor`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl prune --dry-run        What would go
  vctl prune                  The same, then ask, then delete it
  vctl prune --yes            Delete it without a question, as a timer does
  vctl prune --days 30        Keep the events of 30 days")]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    periods: PeriodArgs,

    /// Show what would go, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask; needed where there is no terminal
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
}

pub(crate) fn run(args: &PruneArgs, globals: &Globals) -> Result<(), Stop> {
    let periods = args.periods.checked(globals)?;
    if !args.dry_run && !args.yes && globals.interaction() == Interaction::Never {
        let error = CliError::new(
            Exit::Usage,
            "there is no terminal to ask on before deleting",
        );
        return Err(error.hint("look with `--dry-run`, then say `--yes`").into());
    }
    let mut screen = Screen::for_people();
    context::run(globals, async |context| {
        if args.dry_run {
            let client = reader(context).await?;
            let plan = crate::retention::store::plan(&client, periods).await;
            let plan = plan.map_err(PgError::from)?;
            return Ok(retention::table::write_pruned(
                &mut screen,
                "would delete",
                &plan,
            )?);
        }
        let client = context.connect(&context.pool(DbRole::Pruner)?).await?;
        if !args.yes && !agreed(&client, periods, &mut screen).await? {
            notice::note("nothing was deleted");
            return Ok(());
        }
        prune(&client, periods, &mut screen).await
    })?;
    Ok(screen.flush()?)
}

/// Returns a connection that may ask for the plan: as one who may read, else as one who may delete.
async fn reader(context: &Context) -> Result<Client, Stop> {
    match context.connect(&context.pool(DbRole::AuditRo)?).await {
        Err(PgError::Credential(VaultError::Denied { .. })) => {
            Ok(context.connect(&context.pool(DbRole::Pruner)?).await?)
        }
        client => Ok(client?),
    }
}

async fn agreed(client: &Client, periods: Periods, screen: &mut Screen) -> Result<bool, Stop> {
    let plan = crate::retention::store::plan(client, periods).await;
    retention::table::write_pruned(screen, "would delete", &plan.map_err(PgError::from)?)?;
    screen.flush()?;
    confirmed("Delete this?").await
}

async fn prune(client: &Client, periods: Periods, screen: &mut Screen) -> Result<(), Stop> {
    let mut rows = Rows::default();
    let mut busy = 0;
    loop {
        let step = crate::retention::store::prune(client, periods).await;
        let step = match step.map_err(PgError::from) {
            Ok(step) => step,
            // Somebody reads a day that is to go; whoever waits for the lock would hold up ingest.
            Err(error) if error.is_retryable() && busy < BUSY_TRIES => {
                busy += 1;
                sleep(BUSY_WAIT).await;
                continue;
            }
            Err(error) => {
                return Err(CliError::centre("cannot delete what is too old", &error).into());
            }
        };
        if step.is_empty() {
            break;
        }
        busy = 0;
        let partitions: Vec<Pruned> = step
            .into_iter()
            .filter_map(|pruned| rows.take(pruned))
            .collect();
        retention::table::write_pruned(screen, "deleted", &partitions)?;
        screen.flush()?;
    }
    retention::table::write_pruned(screen, "deleted", &rows.total())?;
    let prepared = crate::retention::store::prepare(client, AHEAD).await;
    Ok(prepared.map_err(PgError::from)?)
}

/// Rows go by the ten thousand, and are told once.
#[derive(Debug, Default)]
struct Rows {
    sessions: u64,
    gaps: u64,
    accesses: u64,
}

impl Rows {
    /// Adds rows, and gives back what is no row.
    fn take(&mut self, pruned: Pruned) -> Option<Pruned> {
        match pruned {
            Pruned::Sessions(count) => self.sessions += count,
            Pruned::Gaps(count) => self.gaps += count,
            Pruned::Accesses(count) => self.accesses += count,
            partition @ Pruned::Partition { .. } => return Some(partition),
        }
        None
    }

    fn total(&self) -> [Pruned; 3] {
        [
            Pruned::Sessions(self.sessions),
            Pruned::Gaps(self.gaps),
            Pruned::Accesses(self.accesses),
        ]
    }
}
