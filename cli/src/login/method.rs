//! Which way a login goes where the command line names none.

use vctl_common::config::Source;

use super::{CachedToken, Choices, Ids, Login, last_method};
use crate::config::Method;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::ask::Interaction;

impl Login<'_> {
    /// Returns how a person logs in without a method on the command line: as configured, else as the last time.
    pub(crate) fn usual_method(&self) -> Method {
        let configured = self.loaded.config.auth_method;
        if *self.loaded.source_of("auth_method") != Source::Default {
            return configured;
        }
        let last = last_method::read(&self.state, &self.binding());
        let last = last.and_then(|last| last.method());
        match last {
            Some(Method::AppRole) if Ids::find(&self.loaded.config, &self.state).is_none() => {
                configured
            }
            last => last.unwrap_or(configured),
        }
    }

    /// Adds the user name of the last login where none is given or configured.
    pub(crate) fn usual_choices(&self, method: Method, choices: Choices) -> Choices {
        if method != Method::Userpass
            || choices.username.is_some()
            || self.loaded.config.username.is_some()
        {
            return choices;
        }
        let last = last_method::read(&self.state, &self.binding());
        Choices {
            username: last.and_then(|last| last.username),
            ..choices
        }
    }

    /// Decides how to log in without a method on the command line: a person who can be asked in the usual way, a
    /// machine with its AppRole.
    pub(super) fn method_for_another(&self, ended: Option<&CachedToken>) -> Result<Method, Stop> {
        let configured = match self.interaction {
            Interaction::Allowed => self.usual_method(),
            Interaction::Never => self.loaded.config.auth_method,
        };
        let ids = Ids::find(&self.loaded.config, &self.state);
        match (self.interaction, configured) {
            (_, Method::AppRole) => Ok(Method::AppRole),
            (Interaction::Allowed, _) if !self.asks => Err(self.nobody_to_ask(ended).into()),
            (Interaction::Allowed, method) => Ok(method),
            (Interaction::Never, _) if ids.is_some() => Ok(Method::AppRole),
            _ => Err(self.nobody_to_ask(ended).into()),
        }
    }

    fn nobody_to_ask(&self, ended: Option<&CachedToken>) -> CliError {
        // A token may be there that could not be looked for.
        if let Some(trouble) = self.state.trouble() {
            return trouble.clone();
        }
        let addr = &self.loaded.config.vault_addr;
        let message = match ended {
            Some(_) => format!("the login to Vault at `{addr}` has ended"),
            None => format!("not logged in to Vault at `{addr}`"),
        };
        CliError::new(Exit::Permission, message).hint("run `vctl login`")
    }
}
