//! Messages about hosts that were not imported.

use vctl_common::count::{counted, form};

use super::plan::{FailureKind, ImportFailure};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ui::notice;

/// Prints each failure, and each unsupported setting once, with its hosts.
///
/// # Errors
/// There are failures. Hosts with unsupported settings are not an error: a timer would always fail.
pub(crate) fn report(
    failures: &[ImportFailure],
    all: usize,
    is_plan: bool,
) -> Result<(), CliError> {
    let (unsupported, failed): (Vec<_>, Vec<_>) = failures
        .iter()
        .partition(|failure| failure.kind == FailureKind::Unsupported);
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for ImportFailure { alias, why, .. } in unsupported {
        let alias = format!("`{alias}`");
        match reasons.iter_mut().find(|(known, _)| known == why) {
            Some((_, aliases)) => aliases.push(alias),
            None => reasons.push((why, vec![alias])),
        }
    }
    let not = if is_plan {
        "would not be imported"
    } else {
        "not imported"
    };
    for (why, aliases) in reasons {
        let hosts = counted(aliases.len(), "host");
        let aliases = aliases.join(", ");
        notice::note(&format!("{hosts} {not}: {aliases}: {why}"));
    }
    for ImportFailure { alias, why, .. } in &failed {
        notice::note(&format!("`{alias}`: {why}"));
    }
    if failed.is_empty() {
        return Ok(());
    }
    let count = failed.len();
    let not = if is_plan {
        "would not be imported"
    } else {
        form(count, "was not imported", "were not imported")
    };
    let message = format!("{count} of {} {not}", counted(all, "host"));
    Err(CliError::new(Exit::Failure, message))
}
