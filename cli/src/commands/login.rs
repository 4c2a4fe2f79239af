//! `vctl login`: logs in to Vault, and caches the token.

use std::io::Write as _;

use vctl_common::person::Person;
use vctl_common::vault::{Auth, Vault};

use crate::centre::context;
use crate::config::Method;
use crate::config::globals::Globals;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
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
/// `--no-browser`, or `--device` if the server supports it. An option of one method selects that method. vctl
/// refuses options of two methods.
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
    #[arg(long)]
    password_stdin: bool,

    /// Read a token from standard input, and cache it
    #[arg(long)]
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
    let given = args.method()?;
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
        let method = given.unwrap_or_else(|| login.usual_method());
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
    /// Returns the method of `--method`, or the one that other options imply.
    ///
    /// # Errors
    /// `Usage` if an option belongs to another method: without it, the login could be that of another user.
    fn method(&self) -> Result<Option<Method>, CliError> {
        let Some((first, implied)) = self.options_of_a_method().next() else {
            return Ok(self.method);
        };
        let (by, method) = match self.method {
            Some(method) => ("--method", method),
            None => (first, implied),
        };
        match self.options_of_a_method().find(|(_, of)| *of != method) {
            None => Ok(Some(method)),
            Some((option, of)) => {
                let message = format!(
                    "`{option}` is for method `{of}`, but `{by}` selects method `{method}`"
                );
                let hint = format!("leave out `{option}` or `{by}`");
                Err(CliError::new(Exit::Usage, message).hint(hint))
            }
        }
    }

    /// Returns the given options that belong to one method, with that method.
    fn options_of_a_method(&self) -> impl Iterator<Item = (&'static str, Method)> {
        let own = [
            ("--username", Method::Userpass, self.username.is_some()),
            ("--password-stdin", Method::Userpass, self.password_stdin),
            ("--token-stdin", Method::Token, self.token_stdin),
        ];
        let own = own.into_iter().filter(|(.., is_given)| *is_given);
        let own = own.map(|(option, method, _)| (option, method));
        own.chain(self.oidc.given().map(|option| (option, Method::Oidc)))
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

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    const METHODS: [(&str, Method); 4] = [
        ("oidc", Method::Oidc),
        ("userpass", Method::Userpass),
        ("approle", Method::AppRole),
        ("token", Method::Token),
    ];

    const OPTIONS: [(&[&str], Method); 7] = [
        (&["--username", "albert"], Method::Userpass),
        (&["--password-stdin"], Method::Userpass),
        (&["--token-stdin"], Method::Token),
        (&["--no-browser"], Method::Oidc),
        (&["--device"], Method::Oidc),
        (&["--callback-port", "8250"], Method::Oidc),
        (&["--role", "sre"], Method::Oidc),
    ];

    /// Returns the method of a command line, or the exit status of its refusal.
    fn method(words: &[&str]) -> Result<Option<Method>, Exit> {
        let command = LoginArgs::augment_args(Command::new("login"));
        let words = [&["login"], words].concat();
        let matches = command.try_get_matches_from(words);
        let matches = matches.map_err(|_| Exit::Usage)?;
        let args = LoginArgs::from_arg_matches(&matches).unwrap();
        args.method().map_err(|error| error.exit)
    }

    #[test]
    fn an_option_of_another_method_is_refused() {
        assert_eq!(method(&[]), Ok(None));
        assert_eq!(method(&["--register"]), Ok(None));
        for (option, of) in OPTIONS {
            assert_eq!(method(option), Ok(Some(of)), "{option:?}");
            for (name, given) in METHODS {
                let words = [&["--method", name], option].concat();
                let fits = (given == of).then_some(Some(of));
                let expected = fits.ok_or(Exit::Usage);
                assert_eq!(method(&words), expected, "{words:?}");
            }
            for (other, of_other) in OPTIONS {
                let words = [option, other].concat();
                // These two open no browser here, so they contradict `--device`.
                let pair = [option[0], other[0]];
                let contradict = pair.contains(&"--device")
                    && (pair.contains(&"--no-browser") || pair.contains(&"--callback-port"));
                let fits = of == of_other && option != other && !contradict;
                assert_eq!(method(&words).is_ok(), fits, "{words:?}");
            }
        }
    }
}
