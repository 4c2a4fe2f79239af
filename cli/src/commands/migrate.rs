//! `vctl migrate`

use std::io::Write as _;
use std::time::{Duration, Instant};

use vctl_common::centre::DbRole;
use vctl_common::pg::Client;

use crate::centre::context;
use crate::centre::context::Context;
use crate::centre::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::migrations::apply::{self, MigrateError};
use crate::migrations::ca;
use crate::migrations::ledger::{self, Applied, Refusal};
use crate::migrations::{self, Migration};
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice};

/// Seconds to wait for another migration.
const PATIENCE_S: u64 = 60;

/// Bring the schema of the central store up to this version
///
/// Applies what is not there yet, each migration in a transaction of its own, then checks that all of
/// them have their effect, and enters the SSH CA of Vault. Needs the policy `vctl-admin`; `--status` needs none but that of everybody.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl migrate                  Apply what is not there yet, and check the whole
  vctl migrate --status         Show what is applied, by whom, and what is not")]
pub(crate) struct MigrateArgs {
    /// Show how each migration stands and change nothing
    #[arg(long)]
    status: bool,

    /// Wait this many seconds for somebody else who is migrating
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = PATIENCE_S,
        conflicts_with = "status"
    )]
    wait: u64,

    /// Where the SSH CA is mounted in Vault [default: key ssh_mount, ssh]
    #[arg(long, value_name = "MOUNT")]
    ssh_mount: Option<String>,

    /// Form of the output
    #[arg(long, short, value_name = "FORM", value_parser = Form::among(Form::OF_DOCUMENT), default_value = "table")]
    output: Form,
}

/// Applies what is not there yet, as `vctl migrate` without options.
pub(crate) fn bring_up(globals: &Globals) -> Result<(), Stop> {
    let args = MigrateArgs {
        status: false,
        wait: PATIENCE_S,
        ssh_mount: None,
        output: Form::Table,
    };
    run(&args, globals)
}

pub(crate) fn run(args: &MigrateArgs, globals: &Globals) -> Result<(), Stop> {
    let mut screen = Screen::for_form(args.output);
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
    // There may be no schema yet, or a newer one: that is what is asked.
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
        let holder = holder.unwrap_or("somebody else");
        notice::note(&format!("waiting for `{holder}`, who is migrating"));
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
            "entered the SSH CA {fingerprint}: sessions of its certificates have a person"
        )),
        ca::RecordedCa::Known => {}
        ca::RecordedCa::None => notice::note(&format!(
            "there is no SSH CA at `{mount}/` to enter, so no session has a person yet"
        )),
        ca::RecordedCa::Unavailable(why) => notice::note(&format!(
            "the SSH CA is not entered, so no session has a person yet: {why}"
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
            let message = format!("migration `{name}` was edited after it was applied");
            CliError::new(Exit::Config, message).hint(
                "restore the file as it was released, and put the change into a new migration",
            )
        }
        Refusal::Newer(names) => {
            let names = names.join("`, `");
            let message =
                format!("the schema is newer than this vctl, which does not know `{names}`");
            CliError::new(Exit::Config, message)
                .hint("install the vctl that applied it, or a newer one")
        }
        Refusal::Skipped(name) => {
            let message = format!("migration `{name}` is not applied, and a later one is");
            CliError::new(Exit::Config, message).hint(
                "somebody changed the ledger by hand: compare it with `vctl migrate --status`",
            )
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
                    "run `vctl migrate` again; a login ends with its lease, or at once with `vault lease revoke -prefix database/creds/ROLE`",
                ),
            ),
            MigrateError::NoRoles(_) => (
                Some(Exit::Config),
                Some(
                    "an administrator sets Postgres up first: its roles `vctl_owner`, `vctl_ro` and so on come from the setup of Vault",
                ),
            ),
            MigrateError::Failed { .. } => (Some(Exit::Failure), None),
            MigrateError::Check { .. } => (
                Some(Exit::Failure),
                Some(
                    "find out who changed the schema; restore what is missing as the owner of the schema, from the file of that name in migrations/",
                ),
            ),
        };
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
