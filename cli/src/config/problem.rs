//! Errors of the configuration as errors of a command, each with the next step.

use vctl_common::config::{ConfigError, Problem};

use crate::error::CliError;
use crate::exit_code::Exit;

/// The hint for an untrusted directory's file.
pub(crate) const TRUST_HINT: &str =
    "read `.vctl/config.yaml`; if you agree with its settings, run `vctl config trust` here";

fn new() -> CliError {
    CliError::new(Exit::Config, "the configuration is not valid")
}

pub(super) fn invalid(problems: &[Problem]) -> CliError {
    let error = problems
        .iter()
        .fold(new(), |error, problem| error.caused_by(problem));
    if problems.iter().any(|problem| problem.untrusted) {
        error.hint(TRUST_HINT)
    } else {
        error.hint("`vctl config example` shows all keys with their meaning")
    }
}

pub(super) fn failure(error: &ConfigError) -> CliError {
    match error {
        ConfigError::Invalid(problems) => invalid(problems),
        ConfigError::Unreadable { .. } => new()
            .caused_by(error)
            .hint("make the file readable, or unset `VCTL_CONFIG` if it names the file"),
        ConfigError::Unsafe { path, .. } => {
            let hint = format!(
                "read the file; if you agree with it: `chown \"$USER\" {0} && chmod go-w {0}`",
                path.display()
            );
            new().caused_by(error).hint(hint)
        }
    }
}
