//! `vctl cache`

use std::io::Write as _;

use jiff::Timestamp;
use vctl_common::centre::DbRole;

use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::globals::Globals;
use crate::config;
use crate::error::Stop;
use crate::files::state_dir::StateDir;
use crate::inventory;
use crate::inventory::cache;
use crate::inventory::cache::text::{Cached, Caches};
use crate::inventory::cache::{RecentFile, SnapshotFile};
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, records};

/// Show, renew or remove the cached hosts, for outages
///
/// Whatever reads the whole inventory keeps it in ~/.vctl, for its owner alone. While Postgres cannot be
/// reached `vctl list` and `vctl ssh` use that, for 7 days, and say so; nothing can be changed then.
/// `docs/outage.md` has the rest.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl cache status           How many hosts are kept, and since when
  vctl cache refresh          Keep those of now; for a timer, or before work on the database
  vctl cache clear            Keep none")]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CacheCommand {
    /// Show the cached hosts, without asking a server
    Status(FormArgs),
    /// Cache the hosts of now, and show them
    Refresh(FormArgs),
    /// Remove the cached hosts, and the names cached for completion
    Clear(FormArgs),
}

#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE)]
struct FormArgs {
    /// Form of the output
    #[arg(long, short, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(crate) fn run(args: &CacheArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let file = SnapshotFile::in_dir(&StateDir::find(), &config::settings(&loaded));
    let form = match &args.command {
        CacheCommand::Status(args) => args.output,
        CacheCommand::Refresh(args) => {
            context::run(globals, async |context| refresh(context, &file).await)?;
            args.output
        }
        CacheCommand::Clear(args) => {
            let recent = RecentFile::in_dir(&StateDir::find(), &config::settings(&loaded));
            if !recent.remove()? & !file.remove()? {
                notice::note("nothing was kept");
            }
            args.output
        }
    };
    show(form, &file)
}

/// Whatever is kept does not answer here: who renews it wants to know that it is not renewed.
async fn refresh(context: &Context, file: &SnapshotFile) -> Result<(), Stop> {
    let client = context.connect(&context.pool(DbRole::Ro)?).await?;
    let hosts = inventory::store::hosts(&client).await?;
    Ok(file.write(&hosts, Timestamp::now())?)
}

fn show(form: Form, file: &SnapshotFile) -> Result<(), Stop> {
    let now = Timestamp::now();
    let cached: Vec<Cached> = Cached::of(file, now).into_iter().collect();
    if !form.is_for_people() {
        let mut screen = Screen::for_programs();
        records::write(&mut screen, form, &Caches { now }, &cached)?;
        return Ok(screen.flush()?);
    }
    if cached.is_empty() {
        notice::note("no hosts are kept; `vctl list` and `vctl cache refresh` keep them");
        return Ok(());
    }
    let mut screen = Screen::for_people();
    let layout = screen.layout(false);
    cache::text::write(&mut screen, &cached, now, layout)?;
    Ok(screen.flush()?)
}
