//! Options of `vctl trust-ca` for the scopes whose certificates a host accepts.

use std::io::Write as _;
use std::path::PathBuf;

use crate::error::{CliError, Stop};
use crate::exit_code::Exit;
use crate::rbac::scope::{Scope, ScopeError};
use crate::rbac::scope_file;
use crate::ssh::Target;
use crate::trust_ca::{ScriptOutcome, TrustSpec};
use crate::ui::{Screen, sanitize};

/// The scopes that a host accepts.
#[derive(Debug, clap::Args)]
pub(super) struct ScopeArgs {
    /// Accept certificates of the scopes in this file that cover the host, besides certificates for all hosts
    #[arg(long, value_name = "FILE", requires = "host", conflicts_with = "scope")]
    scopes: Option<PathBuf>,

    /// Accept certificates of this scope, such as `dc=seoul-onprem`, besides those for all hosts; repeat for several
    #[arg(long, value_name = "SCOPE", value_parser = placed_scope)]
    scope: Vec<Scope>,
}

impl ScopeArgs {
    /// Returns the scopes whose certificates the host shall accept; `None` without such an option.
    ///
    /// # Errors
    /// A scope that does not cover the host, a host that is not in the inventory, or a wrong file.
    pub(super) fn for_host(&self, host: Option<&Target>) -> Result<Option<Vec<Scope>>, CliError> {
        let covers = |scope: &Scope, host: &Target| scope.matches_host(&host.dc, &host.name);
        if let Some(path) = &self.scopes {
            let entries = scope_file::read(path)?;
            let Some(host) = host else {
                let message = "`--scopes` needs a host of the inventory, which has its data centre";
                return Err(CliError::new(Exit::Usage, message)
                    .hint("name each scope for another host: `--scope dc=NAME`"));
            };
            let scopes = entries.into_iter().map(|entry| entry.scope);
            return Ok(Some(scopes.filter(|scope| covers(scope, host)).collect()));
        }
        let wrong = host.and_then(|host| {
            let scope = self.scope.iter().find(|scope| !covers(scope, host))?;
            Some((scope, host))
        });
        if let Some((scope, host)) = wrong {
            let message = format!(
                "the scope `{scope}` does not cover `{}`, in data centre `{}`",
                host.name,
                sanitize::text(&host.dc)
            );
            let hint = format!(
                "`vctl edit {} --dc NAME` changes its data centre",
                host.name
            );
            return Err(CliError::new(Exit::Usage, message).hint(hint));
        }
        Ok((!self.scope.is_empty()).then(|| self.scope.clone()))
    }
}

/// Parses a scope that limits the hosts.
fn placed_scope(text: &str) -> Result<Scope, String> {
    let scope: Scope = text
        .parse()
        .map_err(|error: ScopeError| error.to_string())?;
    if scope.place().is_empty() {
        return Err(
            "every host accepts this scope; expected a condition `dc` or `host`".to_owned(),
        );
    }
    if let Some(user) = scope.user() {
        return Err(format!(
            "a host accepts the certificates of all accounts in a scope; leave out `user={user}`"
        ));
    }
    Ok(scope)
}

/// Prints the scopes that the host accepts now, if they were set.
pub(super) fn show(host: &str, spec: &TrustSpec, outcome: ScriptOutcome) -> Result<(), Stop> {
    let Some(scopes) = &spec.scopes else {
        return Ok(());
    };
    let mut screen = Screen::for_people();
    let host = sanitize::visible(host);
    let accepts = match outcome {
        ScriptOutcome::Planned => "would accept",
        ScriptOutcome::Applied | ScriptOutcome::Unchanged => "accepts",
    };
    for scope in scopes {
        writeln!(screen, "{host} {accepts} certificates of the scope {scope}")?;
    }
    if scopes.is_empty() {
        writeln!(screen, "{host} {accepts} certificates of no scope")?;
    }
    Ok(screen.flush()?)
}
