//! From all the places to the configuration, or everything that is wrong with it.

use std::env;

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
    let inputs = Inputs {
        flags,
        env: &|name| env::var_os(name),
        files: &places::files(),
    };
    TABLE.load(defaults(), &inputs).map_err(|error| {
        let new = CliError::new(Exit::Config, "the configuration cannot be used");
        match &error {
            ConfigError::Invalid(problems) => problems
                .iter()
                .fold(new, |new, problem| new.caused_by(problem)),
            ConfigError::Unreadable { .. } => new.caused_by(&error),
            ConfigError::Unsafe { path, .. } => {
                let hint = format!(
                    "look at what it says; if it is yours: `chmod go-w {0}`, or name it in VCTL_CONFIG",
                    path.display()
                );
                new.caused_by(&error).hint(hint)
            }
        }
    })
}
