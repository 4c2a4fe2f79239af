//! `vctl migrate`: applies the migrations of the database.

use std::io::Write as _;
use std::time::{Duration, Instant};

use vctl_common::centre::DbRole;
use vctl_common::pg::Client;
use vctl_common::pg::tokio_postgres::error::DbError;

use crate::centre::context;
use crate::centre::context::Context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::migrations::apply::{self, MigrateError};
use crate::migrations::ca;
use crate::migrations::ledger::{self, Applied, Refusal};
use crate::migrations::{self, Migration};
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Seconds to wait for another `vctl migrate`.
const PATIENCE_S: u64 = 60;

/// Update the database schema to this version
///
/// Applies the missing migrations, each in its own transaction, checks that each of them took effect, and
/// records the SSH CA of Vault. Needs the policy `vctl-admin`; `--status` needs only the policy
/// `vctl-user`.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl migrate             Apply the missing migrations, and check all
  vctl migrate --status    Show applied migrations, with user and time")]
pub(crate) struct MigrateArgs {
    /// Show the state of each migration, and change nothing
    #[arg(long)]
    status: bool,

    /// Seconds to wait for another `vctl migrate` that is running
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = PATIENCE_S,
        conflicts_with = "status"
    )]
    wait: u64,

    /// Mount path of the SSH CA in Vault [default: key ssh_mount, ssh]
    #[arg(long, value_name = "MOUNT", conflicts_with = "status")]
    ssh_mount: Option<String>,

    /// Output format
    #[arg(long, short, value_name = "FORMAT", value_parser = OutputFormat::among(OutputFormat::OF_DOCUMENT), default_value = "table")]
    output: OutputFormat,
}

/// Applies the missing migrations, like `vctl migrate` without options.
pub(crate) fn apply_all(globals: &Globals) -> Result<(), Stop> {
    let args = MigrateArgs {
        status: false,
        wait: PATIENCE_S,
        ssh_mount: None,
        output: OutputFormat::Table,
    };
    run(&args, globals)
}

pub(crate) fn run(args: &MigrateArgs, globals: &Globals) -> Result<(), Stop> {
    let mut screen = Screen::for_format(args.output);
    let owner = &globals.load()?.config.db_migration_owner;
    context::run(globals, async |context| {
        if args.status {
            status(context, args, &mut screen).await
        } else {
            migrate(context, args, owner, &mut screen).await
        }
    })?;
    Ok(screen.flush()?)
}

async fn status(context: &Context, args: &MigrateArgs, screen: &mut Screen) -> Result<(), Stop> {
    // Any schema is accepted here, also a missing or a newer one: this command reports it.
    let client = context
        .connect(&context.pool_for_any_schema(DbRole::Ro)?)
        .await?;
    let applied = apply::applied(&client).await?;
    print(args, &applied, screen)
}

async fn migrate(
    context: &Context,
    args: &MigrateArgs,
    owner: &str,
    screen: &mut Screen,
) -> Result<(), Stop> {
    let mut client = context
        .connect(&context.pool_for_any_schema(DbRole::Migrator)?)
        .await?;
    let wait = Duration::from_secs(args.wait);
    let waiting = |holder: Option<&str>| {
        let holder = holder.unwrap_or("another user");
        notice::note(&format!("waiting for the migration of `{holder}`"));
    };
    apply::begin(&client, owner, wait, waiting).await?;
    let applied = apply::applied(&client).await?;
    let pending = ledger::pending(migrations::ALL, &applied).map_err(refused)?;
    let mut done = 0;
    for migration in &pending {
        let start = Instant::now();
        if apply::apply(&mut client, migration).await? {
            let took = start.elapsed().as_millis();
            notice::note(&format!("applied `{}` in {took} ms", migration.name));
            done += 1;
        }
    }
    for migration in migrations::ALL {
        apply::check(&mut client, migration).await?;
    }
    record_ca(context, args, &client).await?;
    if !args.output.is_for_people() {
        let applied = apply::applied(&client).await?;
        return print(args, &applied, screen);
    }
    let version = migrations::ALL.last().map_or(0, Migration::version);
    let what = match done {
        0 => "nothing to apply".to_owned(),
        1 => "1 migration applied".to_owned(),
        n => format!("{n} migrations applied"),
    };
    writeln!(screen, "schema version {version}: {what}, all checked")?;
    Ok(())
}

async fn record_ca(context: &Context, args: &MigrateArgs, client: &Client) -> Result<(), Stop> {
    let mount = args.ssh_mount.as_ref();
    let mount = mount.unwrap_or(&context.settings().vault.ssh_mount);
    match ca::record(client, context.vault(), mount).await? {
        ca::RecordedCa::New { fingerprint } => notice::note(&format!(
            "recorded the SSH CA {fingerprint}: sessions with its certificates show the person"
        )),
        ca::RecordedCa::Known => {}
        ca::RecordedCa::None => notice::note(&format!(
            "there is no SSH CA at `{mount}/` to record, so sessions do not show a person yet"
        )),
        ca::RecordedCa::Unavailable(why) => notice::note(&format!(
            "the SSH CA was not recorded, so sessions do not show a person yet: {}",
            CliError::from(why).one_line()
        )),
    }
    Ok(())
}

fn print(args: &MigrateArgs, applied: &[Applied], screen: &mut Screen) -> Result<(), Stop> {
    let standings = ledger::compare(migrations::ALL, applied);
    if args.output.is_for_people() {
        let layout = screen.layout(false);
        migrations::text::write_table(screen, &standings, layout)?;
    } else {
        migrations::text::write_for_programs(screen, args.output, &standings)?;
    }
    Ok(())
}

fn refused(refusal: Refusal) -> Stop {
    let error = match refusal {
        Refusal::Changed(name) => {
            let message = format!("migration `{name}` was changed after it was applied");
            CliError::new(Exit::Config, message)
                .hint("restore the released file, and put the change into a new migration")
        }
        Refusal::Newer(names) => {
            let names = names.join("`, `");
            let message =
                format!("the schema is newer than this vctl: unknown migration `{names}`");
            CliError::new(Exit::Config, message)
                .hint("install the version of vctl that applied it, or a newer one")
        }
        Refusal::Skipped(name) => {
            let message = format!("migration `{name}` is not applied, but a later one is");
            CliError::new(Exit::Config, message)
                .hint("the ledger was changed by hand: compare it with `vctl migrate --status`")
        }
    };
    error.into()
}

impl From<MigrateError> for Stop {
    fn from(error: MigrateError) -> Self {
        let (exit, hint) = match &error {
            MigrateError::Pg(_) => (None, None),
            MigrateError::Locked { .. } => (
                Some(Exit::TryAgain),
                Some("run `vctl migrate` again; `--wait SECONDS` waits longer"),
            ),
            MigrateError::Held { .. } => (
                Some(Exit::TryAgain),
                Some(
                    "run `vctl migrate` again when the lease of that login has expired, or revoke it: `vault lease revoke -prefix database/creds/ROLE`",
                ),
            ),
            MigrateError::NoRoles(_) => (
                Some(Exit::Config),
                Some(
                    "set up Postgres first, as an administrator: deploy/vault/setup.sh creates the roles `vctl_owner`, `vctl_ro` and so on",
                ),
            ),
            MigrateError::Failed { .. } => (Some(Exit::Failure), None),
            MigrateError::Check { .. } => (
                Some(Exit::Failure),
                Some(
                    "the schema was changed by hand: restore the missing parts as the owner of the schema, from the file of that name in migrations/",
                ),
            ),
        };
        // A migration that needs a new role states in its hint where the role comes from.
        let of_postgres = match &error {
            MigrateError::Failed { source, .. } => source.db_error().and_then(DbError::hint),
            _ => None,
        };
        let hint = hint.or(of_postgres).map(str::to_owned);
        match error {
            MigrateError::Pg(error) => error.into(),
            error => {
                let mut new = CliError::new(exit.unwrap_or(Exit::Failure), error.to_string());
                if let Some(cause) = std::error::Error::source(&error) {
                    new = new.caused_by(cause);
                }
                match hint {
                    Some(hint) => new.hint(hint),
                    None => new,
                }
                .into()
            }
        }
    }
}
