//! `vctl login`

use std::io::Write as _;

use vctl_common::person::Person;
use vctl_common::vault::{Auth, Vault};

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::config::Method;
use crate::error::Stop;
use crate::login::{self, CachedToken, Choices, Login, OidcChoices, Registered};
use crate::ui::ask;
use crate::ui::form::Form;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, time};

/// Log in to Vault, and keep the token for the commands that follow
///
/// The token is kept in `~/.vctl/token`, for this Vault alone, and renewed by whichever command comes when
/// it is about to end. A browser is opened for `oidc`, on this machine; without one use `--no-browser`, or
/// `--device` where the server offers it.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl login                              Single sign-on, in a browser
  vctl login --no-browser                 The same where there is none: open the address elsewhere
  vctl login --method userpass            With the password of $USER, asked for
  pass vault | vctl login --method userpass --username albert --password-stdin
  vctl login --method approle             With VCTL_ROLE_ID_FILE and VCTL_SECRET_ID_FILE
  vault print token | vctl login --token-stdin
  vctl login --register                   Also keep an AppRole for jobs that run with nobody at hand")]
pub(crate) struct LoginArgs {
    /// How to log in [default: key auth_method, else the last one used]
    #[arg(long, value_name = "METHOD", value_parser = Method::parser())]
    method: Option<Method>,

    /// Name to log in with (userpass)
    #[arg(long, value_name = "NAME", value_hint = clap::ValueHint::Username)]
    username: Option<String>,

    /// Take the password from standard input (userpass)
    #[arg(long, conflicts_with = "token_stdin")]
    password_stdin: bool,

    /// Take a token from standard input and keep that one
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    token_stdin: bool,

    #[command(flatten)]
    oidc: OidcChoices,

    /// Also keep an AppRole in `~/.vctl` for jobs; what they do is done as `approle`, not as you
    #[arg(long)]
    register: bool,

    /// Form of the output; a table says what came of it on standard error alone
    #[arg(long, short, value_name = "FORM", value_parser = Form::among(Form::OF_DOCUMENT), default_value = "table")]
    output: Form,
}

pub(crate) fn run(args: &LoginArgs, globals: &Globals) -> Result<(), Stop> {
    let loaded = globals.load()?;
    let mut choices = Choices {
        username: args.username.clone(),
        oidc: args.oidc.clone(),
        ..Choices::default()
    };
    if args.password_stdin {
        choices.password = Some(ask::secret_from_stdin("--password-stdin")?);
    }
    if args.token_stdin {
        choices.token = Some(ask::secret_from_stdin("--token-stdin")?);
    }
    context::run_without_store(async {
        let login = Login::new(&loaded, globals.interaction());
        let method = args.method(&login);
        let choices = login.usual_choices(method, choices);
        let token = login.log_in(method, &choices).await?;
        said(&token);
        if args.register {
            register(&login, &token).await;
        }
        if !args.output.is_for_people() {
            let mut screen = Screen::for_people();
            login::text::write_for_programs(&mut screen, args.output, &token)?;
            screen.flush()?;
        }
        Ok(())
    })
}

impl LoginArgs {
    /// What stands on the line says how, also without `--method`.
    fn method(&self, login: &Login<'_>) -> Method {
        match self.method {
            Some(method) => method,
            None if self.token_stdin => Method::Token,
            None if self.password_stdin || self.username.is_some() => Method::Userpass,
            None if self.oidc.is_given() => Method::Oidc,
            None => login.usual_method(),
        }
    }
}

fn said(token: &CachedToken) {
    let person = Person::new(token.display_name.as_str());
    let who = person.name();
    let left = token.life.left(jiff::Timestamp::now());
    notice::done(&match left {
        Some(left) => format!("logged in as {who}, for {}", time::left(left)),
        None => format!("logged in as {who}"),
    });
    login::note_when_overridden();
}

/// A login is one also when this fails.
async fn register(login: &Login<'_>, token: &CachedToken) {
    let vault = Vault::connect(&login.settings().vault, Auth::Token(token.token.clone()));
    let registered = match vault {
        Ok(vault) => login.register(&vault).await,
        Err(error) => Err(error.into()),
    };
    match registered {
        Ok(Registered::Now) => notice::note(
            "jobs may now log in from ~/.vctl; everybody's jobs share that one identity",
        ),
        Ok(Registered::Before) => notice::note("there is an AppRole for jobs already"),
        Err(Stop::Error(error)) => {
            notice::note(&format!("no AppRole for jobs: {}", error.message));
        }
        Err(Stop::ReaderGone | Stop::Interrupted | Stop::Child(_)) => {}
    }
}
