//! Refusals of a rotation step, with hints for the operator.

use std::collections::BTreeSet;

use vctl_common::count::counted;

use crate::ca_rotation::{FailedHost, RotationHost};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// Checks the host names of `--force-without`.
///
/// # Errors
/// `Usage` for a host that does not exist: it is probably a typing error.
pub(super) fn without(
    names: &[String],
    hosts: &[RotationHost],
) -> Result<BTreeSet<String>, CliError> {
    for name in names {
        if !hosts.iter().any(|host| host.name == *name) {
            let message = format!("`--force-without`: there is no host `{name}` in the inventory");
            return Err(
                CliError::new(Exit::Usage, message).hint("`vctl list -o name` lists the hosts")
            );
        }
    }
    Ok(names.iter().cloned().collect())
}

/// Maximum number of hosts that an error lists.
const MOST: usize = 20;

/// Returns an error if hosts are missing. `fix` returns the hint for a host.
pub(super) fn require_none_missing(
    missing: &[FailedHost],
    what: (&str, &str),
    fix: impl FnOnce(&str) -> String,
    step: &str,
) -> Result<(), CliError> {
    let [first, ..] = missing else {
        return Ok(());
    };
    let count = missing.len();
    let verb = if count == 1 { what.0 } else { what.1 };
    let message = format!("{} {verb}", counted(count, "host"));
    let mut error = CliError::new(Exit::Failure, message);
    let causes = missing.iter().take(MOST);
    error.causes = causes
        .map(|one| format!("{}: {}", one.host, one.why))
        .collect();
    if missing.len() > MOST {
        error.causes.push(format!("{} more", missing.len() - MOST));
    }
    let which = if missing.len() == 1 {
        &*first.host
    } else {
        "HOST"
    };
    let each = if missing.len() == 1 { "" } else { " for each" };
    Err(error.hint(format!(
        "{}; then run `vctl ca ssh-rotate {step}` again, or add `--force-without {which}`{each}",
        fix(which)
    )))
}

pub(super) fn trust_hint(host: &str) -> String {
    format!("fix the cause, or run `vctl trust-ca {host}`")
}

pub(super) fn out_of_turn(message: &str, hint: &str) -> Stop {
    CliError::new(Exit::Usage, message).hint(hint).into()
}
