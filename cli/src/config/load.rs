//! Loads the configuration from flags, environment and files, or returns all its problems.

use std::env;
use std::ffi::OsString;
use std::sync::OnceLock;

use vctl_common::config::{Inputs, Problem};

use super::keys::{TABLE, defaults};
use super::problem::{failure, invalid};
use super::{Loaded, places};
use crate::error::CliError;

/// Returns the configuration of flags, environment and files. Each flag is a key and its text.
///
/// # Errors
/// All problems at once.
pub(crate) fn load(flags: &[(String, String)]) -> Result<Loaded, CliError> {
    let loaded = load_with(flags, &|name| env::var_os(name))?;
    remember(&loaded);
    for key in ["vault_addr", "vault_namespace", "db_host", "db_port"] {
        tracing::debug!(source = %loaded.source_of(key), "Settled `{key}`.");
    }
    Ok(loaded)
}

/// Like [`load`], but ignores keys that an untrusted directory's file may not set, and returns whether
/// there were such keys.
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

/// Stores the configuration. The first one is enough: flags, environment and files stay the same.
fn remember(loaded: &Loaded) {
    let _ = LOADED.set(loaded.clone());
}

/// Returns a hint that names each setting by the place that sets its value.
pub(crate) fn placed(hint: &str) -> String {
    match LOADED.get() {
        Some(loaded) => loaded.placed(hint),
        None => hint.to_owned(),
    }
}

/// Like [`load`], with another environment.
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
