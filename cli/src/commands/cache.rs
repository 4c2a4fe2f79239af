//! `vctl cache`: the cached hosts, for outages of Postgres.

use std::io::Write as _;

use jiff::Timestamp;
use vctl_common::centre::DbRole;

use crate::centre::context;
use crate::centre::context::Context;
use crate::config;
use crate::config::globals::Globals;
use crate::error::Stop;
use crate::files::state_dir::StateDir;
use crate::inventory;
use crate::inventory::cache;
use crate::inventory::cache::text::{CacheFile, Caches};
use crate::inventory::cache::{RecentFile, SnapshotFile};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, records};

/// Show, refresh or remove the cached hosts
///
/// Commands that read the whole inventory store it in ~/.vctl, readable by you alone. While Postgres is
/// unreachable, `vctl list` and `vctl ssh` use this cache for up to 7 days, and say so. The inventory
/// cannot be changed then. See docs/outage.md.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl cache status     Show how many hosts are cached, and since when
  vctl cache refresh    Cache the current hosts, for example in a timer
  vctl cache clear      Remove the cache")]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CacheCommand {
    /// Show the cached hosts, without a connection to a server
    Status(FormatArgs),
    /// Cache the current hosts, and show the result
    Refresh(FormatArgs),
    /// Remove the cached hosts, and the names cached for completion
    Clear(FormatArgs),
}

#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
struct FormatArgs {
    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_enum, default_value_t)]
    output: OutputFormat,
}

pub(crate) fn run(args: &CacheArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let file = SnapshotFile::in_dir(&StateDir::find(), &config::settings(&loaded));
    let format = match &args.command {
        CacheCommand::Status(args) => args.output,
        CacheCommand::Refresh(args) => {
            context::run(globals, async |context| refresh(context, &file).await)?;
            args.output
        }
        CacheCommand::Clear(args) => {
            let recent = RecentFile::in_dir(&StateDir::find(), &config::settings(&loaded));
            if !recent.remove()? & !file.remove()? {
                notice::note("nothing was cached");
            }
            args.output
        }
    };
    show(format, &file)
}

/// Reads Postgres only, never the cache: a refresh that fails must be an error.
async fn refresh(context: &Context, file: &SnapshotFile) -> Result<(), Stop> {
    let client = context.connect_as(DbRole::Ro).await?;
    let hosts = inventory::store::hosts(&client).await?;
    Ok(file.write(&hosts, Timestamp::now())?)
}

fn show(format: OutputFormat, file: &SnapshotFile) -> Result<(), Stop> {
    let now = Timestamp::now();
    let cached: Vec<CacheFile> = CacheFile::of(file, now).into_iter().collect();
    if !format.is_for_people() {
        let mut screen = Screen::for_programs();
        records::write(&mut screen, format, &Caches { now }, &cached)?;
        return Ok(screen.flush()?);
    }
    if cached.is_empty() {
        notice::note("no hosts are cached; `vctl list` and `vctl cache refresh` cache them");
        return Ok(());
    }
    let mut screen = Screen::for_people();
    let layout = screen.layout(false);
    cache::text::write(&mut screen, &cached, now, layout)?;
    Ok(screen.flush()?)
}
