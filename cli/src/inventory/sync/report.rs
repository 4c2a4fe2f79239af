//! What is said of hosts that did not become rows.

use vctl_common::count::{counted, form};

use super::plan::{Failure, FailureKind};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ui::notice;

/// Says what was left out: each failure by itself, and each reason that is by design once, with its hosts.
///
/// # Errors
/// There are failures. A host that cannot be imported by design is none: a timer would fail for ever.
pub(crate) fn report(failures: &[Failure], all: usize, is_plan: bool) -> Result<(), CliError> {
    let (by_design, failed): (Vec<_>, Vec<_>) = failures
        .iter()
        .partition(|failure| failure.kind == FailureKind::ByDesign);
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for Failure { alias, why, .. } in by_design {
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
    for Failure { alias, why, .. } in &failed {
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
