//! From all the places to the configuration, or everything that is wrong with it.

use std::env;
use std::ffi::OsString;

use vctl_common::config::{ConfigError, Inputs};

use super::keys::{TABLE, defaults};
use super::{Loaded, places};
use crate::error::CliError;
use crate::exit_code::Exit;

/// Returns the configuration that flags, environment and files make. Each flag is the name of its
/// key and its text.
///
/// # Errors
/// Everything that is wrong, at once.
pub(crate) fn load(flags: &[(String, String)]) -> Result<Loaded, CliError> {
    let loaded = load_with(flags, &|name| env::var_os(name))?;
    for key in ["vault_addr", "vault_namespace", "db_host", "db_port"] {
        tracing::debug!(source = %loaded.source_of(key), "Settled `{key}`.");
    }
    Ok(loaded)
}

/// As [`load`], with another environment.
pub(super) fn load_with(
    flags: &[(String, String)],
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Loaded, CliError> {
    let inputs = Inputs {
        flags,
        env,
        files: &places::files(env),
    };
    TABLE
        .merge(defaults(), &inputs)
        .and_then(|(loaded, mut problems)| {
            problems.extend(places::unbelievable_database(&loaded));
            if problems.is_empty() {
                Ok(loaded)
            } else {
                Err(ConfigError::Invalid(problems))
            }
        })
        .map_err(|error| failure(&error))
}

fn failure(error: &ConfigError) -> CliError {
    let new = CliError::new(Exit::Config, "the configuration cannot be used");
    match error {
        ConfigError::Invalid(problems) => problems
            .iter()
            .fold(new, |new, problem| new.caused_by(problem))
            .hint("`vctl config example` shows every key; docs/config.md says what each is for"),
        ConfigError::Unreadable { .. } => new
            .caused_by(error)
            .hint("make it readable, or unset `VCTL_CONFIG` if that names it"),
        ConfigError::Unsafe { path, .. } => {
            let hint = format!(
                "read it; if it is what you want: `chown \"$USER\" {0} && chmod go-w {0}`",
                path.display()
            );
            new.caused_by(error).hint(hint)
        }
    }
}
