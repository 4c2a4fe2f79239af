//! Parts of a file that are not entries of an audit log.

use vctl_common::count::counted;

use crate::error::CliError;
use crate::exit_code::Exit;

/// A reason why a part of a file is not an entry.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("{0}")]
    Line(String),
    /// The file ends in this line.
    #[error("the last line is incomplete: {0}")]
    LastLine(String),
    /// The file cannot be read or decompressed from here on.
    #[error("the file cannot be read any further: {0}")]
    Rest(String),
}

/// Returns the error of a file without an entry.
pub(super) fn no_entries(file: &str, lines: u64, problem: &Problem) -> CliError {
    if let Problem::Rest(cause) = problem {
        let message = format!("the audit log `{file}` cannot be read");
        let mut error = CliError::new(Exit::Failure, message);
        error.causes.push(cause.clone());
        return error.hint("the file is damaged, or was cut when it was copied: copy it again");
    }
    let message = format!("`{file}` is not an audit log of Vault");
    let mut error = CliError::new(Exit::Usage, message)
        .hint("`--audit-log` takes the files of a `file` audit device, one JSON object a line");
    let count = counted(lines, "line");
    error.causes.push(format!(
        "not one of {count} is an entry; the first: {problem}"
    ));
    error
}
