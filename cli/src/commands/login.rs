//! `vctl login`: logs in to Vault, and caches the token.

use std::io::Write as _;

use vctl_common::person::Person;
use vctl_common::vault::{Auth, Vault};

use crate::centre::context;
use crate::centre::globals::Globals;
use crate::config::Method;
use crate::error::Stop;
use crate::login::{self, CachedToken, Choices, Login, OidcChoices, Registered};
use crate::rbac;
use crate::ui::ask;
use crate::ui::format::OutputFormat;
use crate::ui::help::TEMPLATE;
use crate::ui::{Screen, notice, time};

/// Log in to Vault and cache the token
///
/// vctl stores the token in `~/.vctl/token`, for this Vault server only. The next commands use it, and renew
/// it before it expires. The method `oidc` opens a browser on this machine; without a browser use
/// `--no-browser`, or `--device` if the server supports it.
#[derive(Debug, clap::Args)]
#[command(help_template = TEMPLATE, before_help = "\
Examples:
  vctl login                      Single sign-on in a browser
  vctl login --no-browser         The same; open the printed address elsewhere
  vctl login --method userpass    Ask for the password of $USER
  pass vault | vctl login --username albert --password-stdin
  vctl login --method approle     Use VCTL_ROLE_ID_FILE and VCTL_SECRET_ID_FILE
  vault print token | vctl login --token-stdin
  vctl login --register           Also create an AppRole for unattended jobs")]
pub(crate) struct LoginArgs {
    /// Login method [default: key auth_method, else the last one used]
    #[arg(long, value_name = "METHOD", value_parser = Method::parser())]
    method: Option<Method>,

    /// Username for userpass
    #[arg(long, value_name = "NAME", value_hint = clap::ValueHint::Username)]
    username: Option<String>,

    /// Read the password for userpass from standard input
    #[arg(long, conflicts_with = "token_stdin")]
    password_stdin: bool,

    /// Read a token from standard input, and cache it
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    token_stdin: bool,

    #[command(flatten)]
    oidc: OidcChoices,

    /// Also create an AppRole for jobs in `~/.vctl`; jobs act as `approle`, not as you
    #[arg(long)]
    register: bool,

    /// Output format; `table` prints a message on standard error only
    #[arg(long, short, value_name = "FORMAT", value_parser = OutputFormat::among(OutputFormat::OF_DOCUMENT), default_value = "table")]
    output: OutputFormat,
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
        rbac::lookup::cache_of_login(&login, &token.display_name);
        report(&token);
        if args.register {
            register_approle(&login, &token).await;
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
    /// Without `--method`, the other options decide the method.
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

fn report(token: &CachedToken) {
    let person = Person::new(token.display_name.as_str());
    let who = person.name();
    let left = token.life.left(jiff::Timestamp::now());
    notice::done(&match left {
        Some(left) => format!("logged in as {who}, for {}", time::left(left)),
        None => format!("logged in as {who}"),
    });
    login::note_if_env_token_wins();
}

/// A failure here does not undo the login.
async fn register_approle(login: &Login<'_>, token: &CachedToken) {
    let vault = Vault::connect(&login.settings().vault, Auth::Token(token.token.clone()));
    let registered = match vault {
        Ok(vault) => login.register(&vault).await,
        Err(error) => Err(error.into()),
    };
    match registered {
        Ok(Registered::Created) => notice::note(
            "jobs can now log in with the AppRole in ~/.vctl; the jobs of all users share this identity",
        ),
        Ok(Registered::AlreadyExisted) => notice::note("the AppRole for jobs already exists"),
        Err(Stop::Error(error)) => {
            notice::note(&format!(
                "no AppRole for jobs was created: {}",
                error.one_line()
            ));
        }
        Err(Stop::ReaderGone | Stop::Interrupted | Stop::Child(_)) => {}
    }
}
