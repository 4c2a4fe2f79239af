//! `vctl token`

use std::io::Write as _;

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::login;
use crate::login::{Login, Token};
use crate::ui;
use crate::ui::Screen;
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;

/// Print a valid token, and nothing else
///
/// Renewed, or got anew, when that is due; no network is touched while the token that is kept is good.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  export VAULT_TOKEN=$(vctl token)        For Vault's own program
  vctl token --field expires              When it ends
  vctl token -o json                      All that is known of it without asking, but not the token")]
pub(crate) struct TokenArgs {
    /// Print this of it instead
    #[arg(long, value_enum, conflicts_with = "output")]
    field: Option<login::text::Field>,

    /// Form of the output; the forms for programs have what is known of it, without the token
    #[arg(long, short, value_name = "FORM", value_parser = Form::among(Form::OF_DOCUMENT), default_value = "table")]
    output: Form,
}

pub(crate) fn run(args: &TokenArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let token = context::run_without_store(async {
        let login = Login::new(&loaded, globals.interaction());
        login.valid_token().await
    })?;
    let mut out = ui::stdout();
    let ours = match (&token, args.field, args.output) {
        (token, None, form) if form.is_for_people() => {
            return Ok(writeln!(out, "{}", token.value().expose())?);
        }
        (Token::Ours(token), _, _) => token,
        (Token::Given(_), _, _) => {
            let message = "nothing is known of the token in `VAULT_TOKEN`";
            let error = CliError::new(Exit::Usage, message);
            return Err(error
                .hint("unset `VAULT_TOKEN` to see that of `vctl login`")
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
