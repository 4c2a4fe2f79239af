//! Why a step of a rotation is refused, and what an operator does about it.

use std::collections::BTreeSet;

use vctl_common::count::counted;

use crate::ca_rotation::{FailedHost, RotationHost};
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// # Errors
/// `Usage` for a host that is not there: it was meant to be another.
pub(super) fn without(
    names: &[String],
    hosts: &[RotationHost],
) -> Result<BTreeSet<String>, CliError> {
    for name in names {
        if !hosts.iter().any(|host| host.name == *name) {
            let message = format!("there is no host `{name}` to go on without");
            return Err(CliError::new(Exit::Usage, message).hint("`vctl list -o name`"));
        }
    }
    Ok(names.iter().cloned().collect())
}

/// How many of the missing hosts an error lists.
const MOST: usize = 20;

/// `mend` says what helps a host.
pub(super) fn nobody_is(
    missing: &[FailedHost],
    what: (&str, &str),
    mend: impl FnOnce(&str) -> String,
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
        "{}; then `vctl ca ssh-rotate {step}` again, or with `--force-without {which}`{each}",
        mend(which)
    )))
}

pub(super) fn tell_it(host: &str) -> String {
    format!("correct that, or run `vctl trust-ca {host}`")
}

pub(super) fn out_of_turn(message: &str, hint: &str) -> Stop {
    CliError::new(Exit::Usage, message).hint(hint).into()
}
