//! `vctl token`: prints a valid token, or its properties.

use std::io::Write as _;

use crate::centre::context;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::login;
use crate::login::{Login, Token};
use crate::ui;
use crate::ui::Screen;
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;

/// Print a valid Vault token
///
/// Renews or replaces the cached token when necessary. While the cached token is valid, vctl makes no
/// network connection.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  export VAULT_TOKEN=$(vctl token)    Use it with the vault program
  vctl token --field expires          Print when it expires
  vctl token -o json                  Print its properties, but not the token")]
pub(crate) struct TokenArgs {
    /// Print this property instead of the token
    #[arg(long, value_enum, conflicts_with = "output")]
    field: Option<login::text::TokenField>,

    /// Output format; `json`, `jsonl` and `yaml` print the properties, not the token
    #[arg(long, short, value_name = "FORMAT", value_parser = OutputFormat::among(OutputFormat::OF_DOCUMENT), default_value = "table")]
    output: OutputFormat,
}

pub(crate) fn run(args: &TokenArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let token = context::run_without_store(async {
        let login = Login::new(&loaded, globals.interaction());
        login.valid_token().await
    })?;
    let mut out = ui::stdout();
    let ours = match (&token, args.field, args.output) {
        (token, None, format) if format.is_for_people() => {
            return Ok(writeln!(out, "{}", token.value().expose())?);
        }
        (Token::Cached(token), _, _) => token,
        (Token::FromEnv(_), _, _) => {
            let message = "the properties of the token in `VAULT_TOKEN` are unknown";
            let error = CliError::new(Exit::Usage, message);
            return Err(error
                .hint("unset `VAULT_TOKEN` to use the token of `vctl login`")
                .into());
        }
    };
    if let Some(field) = args.field {
        writeln!(out, "{}", login::text::field(ours, field))?;
    } else {
        let mut screen = Screen::for_people();
        login::text::write_for_programs(&mut screen, args.output, ours)?;
        screen.flush()?;
    }
    Ok(())
}
