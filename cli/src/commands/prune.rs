//! `vctl prune`: deletes records that are older than the retention periods.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::sleep;
use vctl_common::centre::DbRole;
use vctl_common::pg::{Client, PgError, Pool};
use vctl_common::vault::VaultError;

use super::retention::PeriodArgs;
use crate::centre::context;
use crate::centre::context::Context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::rbac;
use crate::rbac::command::GatedCommand;
use crate::retention;
use crate::retention::model::{Periods, Pruned};
use crate::ui::ask::confirmed;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Days for which partitions are created in advance.
const AHEAD: i32 = 7;
/// Attempts while a reader locks the oldest day. No proper query reads it for longer than a minute.
const BUSY_TRIES: u32 = 12;
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Delete records that are older than the retention periods
///
/// Events are deleted by whole days, by dropping their partition. A session is deleted when it has ended
/// and its events are deleted; an access is deleted when its sessions are deleted. Open sessions stay.
/// `vctl prune` also creates the partitions of the next seven days. Needs the policy `vctl-pruner`;
/// `--dry-run` also works with `vctl-auditor`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl prune --dry-run    Show what would be deleted
  vctl prune              Show it, ask for confirmation, and delete it
  vctl prune --yes        Delete without confirmation: for a timer
  vctl prune --days 30    Keep events for 30 days")]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    periods: PeriodArgs,

    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask for confirmation; needed without a terminal
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
}

pub(crate) fn run(args: &PruneArgs, globals: &Globals) -> Result<(), Stop> {
    let periods = args.periods.checked(globals)?;
    let interaction = globals.interaction();
    if !args.dry_run && !args.yes {
        let hint = "look with `--dry-run`, then use `--yes`";
        interaction.require("deleting needs confirmation", hint)?;
    }
    let mut screen = Screen::for_people();
    context::run(globals, async |context| {
        if args.dry_run {
            let client = reader(context).await?;
            check_grant(context, &client).await?;
            return show(&client, periods, &mut screen).await;
        }
        // The question and the deletion may last longer than the lease of one login.
        let pool = context.pool(DbRole::Pruner)?;
        let client = context.connect(&pool).await?;
        check_grant(context, &client).await?;
        if !args.yes {
            show(&client, periods, &mut screen).await?;
        }
        drop(client);
        if !args.yes && !confirmed(interaction, "Delete this?").await? {
            notice::note("nothing was deleted");
            return Ok(());
        }
        prune(&pool, periods, &mut screen).await
    })?;
    Ok(screen.flush()?)
}

async fn check_grant(context: &Context, client: &Client) -> Result<(), CliError> {
    let grants = rbac::lookup::of_client(context, client).await;
    rbac::gate::require(context, GatedCommand::Prune, None, grants).await
}

/// Returns a connection that may read the plan: as auditor, or else as pruner.
async fn reader(context: &Context) -> Result<Client, Stop> {
    match context.connect(&context.pool(DbRole::AuditRo)?).await {
        Err(PgError::Credential(VaultError::Denied { .. })) => {
            Ok(context.connect_as(DbRole::Pruner).await?)
        }
        client => Ok(client?),
    }
}

/// Prints what would be deleted.
async fn show(client: &Client, periods: Periods, screen: &mut Screen) -> Result<(), Stop> {
    let plan = crate::retention::store::plan(client, periods).await;
    retention::table::write_pruned(screen, "would delete", &plan.map_err(PgError::from)?)?;
    Ok(screen.flush()?)
}

async fn prune(pool: &Pool, periods: Periods, screen: &mut Screen) -> Result<(), Stop> {
    let mut rows = Rows::default();
    let mut busy = 0;
    loop {
        let step = async |client: &Client| {
            let pruned = crate::retention::store::prune(client, periods).await;
            pruned.map_err(PgError::from)
        };
        let step = match pool.with(step).await {
            Ok(step) => step,
            // A reader locks the oldest day, or Postgres is away. A wait for that lock would also block ingest, so it is tried again.
            Err(error) if error.is_retryable() && busy < BUSY_TRIES => {
                busy += 1;
                sleep(BUSY_WAIT).await;
                continue;
            }
            Err(error) => {
                return Err(CliError::centre("cannot delete old records", &error).into());
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
    let client = pool.get().await?;
    let prepared = crate::retention::store::prepare(&client, AHEAD).await;
    Ok(prepared.map_err(PgError::from)?)
}

/// Counts of deleted rows: `prune` deletes ten thousand at a time, and the sum is printed once.
#[derive(Debug, Default)]
struct Rows {
    sessions: u64,
    gaps: u64,
    accesses: u64,
}

impl Rows {
    /// Adds a count of rows, and returns a partition unchanged.
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
