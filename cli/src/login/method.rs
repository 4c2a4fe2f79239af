//! The login method if the command line does not set one.

use vctl_common::config::Source;

use super::{AppRoleIds, CachedToken, Choices, Login, last_method};
use crate::config::Method;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::ui::ask::Interaction;

impl Login<'_> {
    /// Returns the method for a person: the configured one, or else the last one used.
    pub(crate) fn usual_method(&self) -> Method {
        let configured = self.loaded.config.auth_method;
        if *self.loaded.source_of("auth_method") != Source::Default {
            return configured;
        }
        let last = last_method::read(&self.state, &self.binding());
        let last = last.and_then(|last| last.method());
        match last {
            Some(Method::AppRole)
                if AppRoleIds::find(&self.loaded.config, &self.state).is_none() =>
            {
                configured
            }
            last => last.unwrap_or(configured),
        }
    }

    /// Adds the username of the last login, unless one is given or configured.
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

    /// Returns the method for a new login during another command: for a person with a terminal the usual one,
    /// for a machine its AppRole.
    pub(super) fn method_for_new_login(&self, ended: Option<&CachedToken>) -> Result<Method, Stop> {
        let configured = match self.interaction {
            Interaction::Allowed => self.usual_method(),
            _ => self.loaded.config.auth_method,
        };
        let ids = AppRoleIds::find(&self.loaded.config, &self.state);
        match (self.interaction, configured) {
            (_, Method::AppRole) => Ok(Method::AppRole),
            (Interaction::Allowed, _) if !self.asks => Err(self.login_needed(ended).into()),
            (Interaction::Allowed, method) => Ok(method),
            (_, _) if ids.is_some() => Ok(Method::AppRole),
            _ => Err(self.login_needed(ended).into()),
        }
    }

    fn login_needed(&self, ended: Option<&CachedToken>) -> CliError {
        // The state directory may contain a token, but cannot be used.
        if let Some(error) = self.state.error() {
            return error.clone();
        }
        let addr = &self.loaded.config.vault_addr;
        let message = match ended {
            Some(_) => format!("the login to Vault at `{addr}` has expired"),
            None => format!("not logged in to Vault at `{addr}`"),
        };
        CliError::new(Exit::Permission, message).hint("run `vctl login`")
    }
}
