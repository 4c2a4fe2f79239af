//! From all the places to the configuration, or everything that is wrong with it.

use std::env;
use std::ffi::OsString;
use std::sync::OnceLock;

use vctl_common::config::{ConfigError, Inputs, Problem};

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
    remember(&loaded);
    for key in ["vault_addr", "vault_namespace", "db_host", "db_port"] {
        tracing::debug!(source = %loaded.source_of(key), "Settled `{key}`.");
    }
    Ok(loaded)
}

/// As [`load`], also where a directory's file that is not trusted sets keys it may not set. Returns
/// the configuration without them, and whether there were such keys.
pub(crate) fn load_without_refused(flags: &[(String, String)]) -> Result<(Loaded, bool), CliError> {
    let (loaded, problems) = merge(flags, &|name| env::var_os(name))?;
    if problems.iter().all(|problem| problem.untrusted) {
        remember(&loaded);
        Ok((loaded, !problems.is_empty()))
    } else {
        Err(invalid(&problems))
    }
}

/// The configuration of this process, for hints that name a setting.
static LOADED: OnceLock<Loaded> = OnceLock::new();

/// Every load of a process has the same flags, environment and files, so the first one is enough.
fn remember(loaded: &Loaded) {
    let _ = LOADED.set(loaded.clone());
}

/// Returns a hint that names each setting by the place that decides it.
pub(crate) fn placed(hint: &str) -> String {
    match LOADED.get() {
        Some(loaded) => loaded.placed(hint),
        None => hint.to_owned(),
    }
}

/// As [`load`], with another environment.
pub(super) fn load_with(
    flags: &[(String, String)],
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Loaded, CliError> {
    let (loaded, problems) = merge(flags, env)?;
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(invalid(&problems))
    }
}

fn merge(
    flags: &[(String, String)],
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(Loaded, Vec<Problem>), CliError> {
    let inputs = Inputs {
        flags,
        env,
        files: &places::files(env),
    };
    let merged = TABLE.merge(defaults(), &inputs);
    merged.map_err(|error| failure(&error))
}

/// The way out where a directory's file is not trusted.
pub(crate) const TRUST_HINT: &str =
    "read `.vctl/config.yaml`; where you want what it sets, run `vctl config trust` here";

fn new() -> CliError {
    CliError::new(Exit::Config, "the configuration cannot be used")
}

pub(super) fn invalid(problems: &[Problem]) -> CliError {
    let error = problems
        .iter()
        .fold(new(), |error, problem| error.caused_by(problem));
    if problems.iter().any(|problem| problem.untrusted) {
        error.hint(TRUST_HINT)
    } else {
        error.hint("`vctl config example` shows every key and what it is for")
    }
}

pub(super) fn failure(error: &ConfigError) -> CliError {
    match error {
        ConfigError::Invalid(problems) => invalid(problems),
        ConfigError::Unreadable { .. } => new()
            .caused_by(error)
            .hint("make it readable, or unset `VCTL_CONFIG` if that names it"),
        ConfigError::Unsafe { path, .. } => {
            let hint = format!(
                "read it; if it is what you want: `chown \"$USER\" {0} && chmod go-w {0}`",
                path.display()
            );
            new().caused_by(error).hint(hint)
        }
    }
}
