//! `vctl exec`: runs a command with a token.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};

use vctl_common::centre::DbRole;

use crate::centre::context;
use crate::centre::context::Context;
use crate::child;
use crate::child::SecretVariable;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::login::token_renewal;
use crate::login::{CachedToken, Login, Token};
use crate::rbac;
use crate::rbac::command::GatedCommand;
use crate::ui::help::TEMPLATE;
use crate::ui::notice;

/// Run a command with a valid Vault token in its environment
///
/// Sets `VAULT_ADDR` and `VAULT_TOKEN` for the command, and renews the token while it runs; vctl does not
/// prompt during that time. Signals are passed to the command, and its exit status becomes that of vctl:
/// 126 if it cannot be executed, 127 if it does not exist, 128 plus the signal's number if a signal ended
/// it.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl exec -- terraform apply
  vctl exec -- vault kv get kv/services/foo
  vctl exec --env PGPASSWORD=kv/services/db#password -- psql")]
pub(crate) struct ExecArgs {
    /// Also set a variable to a secret of Vault; repeat for several
    #[arg(long, value_name = "NAME=PATH#FIELD")]
    env: Vec<SecretVariable>,

    /// Command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(crate) fn run(args: &ExecArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let (program, rest) = args
        .command
        .split_first()
        .ok_or_else(|| CliError::new(Exit::Usage, "there is no command to run"))?;
    // From here on signals are passed to the command.
    let signals = child::ForwardedSignals::take()
        .map_err(|error| CliError::new(Exit::Failure, "cannot handle signals").caused_by(&error))?;
    let status = context::run_to_the_end(async {
        let login = Login::new(&loaded, globals.interaction());
        let (token, secrets) = signals
            .until_asked_to_stop(notice::waiting(Box::pin(prepare(args, &login))))
            .await?;
        let mut command = Command::new(program);
        command
            .args(rest)
            .env("VAULT_ADDR", &loaded.config.vault_addr)
            .env("VAULT_TOKEN", token.token.expose());
        if let Some(namespace) = &loaded.config.vault_namespace {
            command.env("VAULT_NAMESPACE", namespace);
        }
        if let Some(ca_cert) = &loaded.config.vault_ca_cert {
            command.env("VAULT_CACERT", ca_cert);
        }
        for (name, value) in &secrets {
            command.env(name, value.expose());
        }
        let running = child::run(command, &signals);
        let status = token_renewal::renew_while(&login, token, running).await;
        status.map_err(|error| Stop::from(not_run(program, &error)))
    })?;
    Err(Stop::Child(code(status)))
}

type Secrets = Vec<(String, vctl_common::secret::Secret<String>)>;

async fn prepare(args: &ExecArgs, login: &Login<'_>) -> Result<(CachedToken, Secrets), Stop> {
    let token = login.valid_token().await?;
    check_grant(login, &token).await?;
    let token = match token {
        Token::Cached(token) => *token,
        Token::FromEnv(token) => login.describe(&token).await?,
    };
    let secrets = child::secrets(&args.env, &login.settings().vault, &token.token).await?;
    Ok((token, secrets))
}

async fn check_grant(login: &Login<'_>, token: &Token) -> Result<(), Stop> {
    let context = Context::with_token(login, token).await?;
    let grants = rbac::lookup::with_role(&context, DbRole::Ro).await;
    let checked = rbac::gate::require(&context, GatedCommand::Exec, None, grants).await;
    let checked = checked.map_err(Stop::from);
    context.finish(&checked).await;
    checked
}

fn not_run(program: &OsString, error: &io::Error) -> CliError {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::CommandNotFound,
        _ => Exit::CannotExecute,
    };
    let message = format!("cannot run `{}`", program.display());
    CliError::new(exit, message).caused_by(error)
}

/// Exit status as a shell would report it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
