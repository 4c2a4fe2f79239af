//! Results of tools, and errors that name the next step.

use rmcp::model::{CallToolResult, ContentBlock};
use serde::Serialize;
use serde_json::Value;

use super::untrusted;
use crate::error::{CliError, Stop};
use crate::exit_code::Exit;

/// An answer that may also be a failure, such as the partial output of a command that was stopped.
pub(super) trait Answer: Serialize {
    fn is_failure(&self) -> bool {
        false
    }
}

/// Returns the result of a tool: the value, and the same as text for clients without structured content.
pub(super) fn result(answer: &impl Answer) -> CallToolResult {
    match serde_json::to_value(answer) {
        Ok(value) if answer.is_failure() => CallToolResult::structured_error(value),
        Ok(value) => CallToolResult::structured(value),
        Err(error) => failure(&internal(&error).into()),
    }
}

/// Returns an error as a result: the model reads it, and the hint says what to do.
pub(super) fn failure(stop: &Stop) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text(stop))])
}

pub(super) fn text(stop: &Stop) -> String {
    let error = match stop {
        Stop::Error(error) => error,
        Stop::ReaderGone => return "the reader of the output is gone".to_owned(),
        Stop::Interrupted => return "vctl was interrupted".to_owned(),
        Stop::Child(code) => return format!("vctl ended with status {code}"),
    };
    let mut lines = vec![format!("error: {}", untrusted::line(&error.message))];
    let causes = error.causes.iter().map(untrusted::line);
    lines.extend(causes.map(|cause| format!("  caused by: {cause}")));
    if let Some(hint) = &error.hint {
        lines.push(format!("hint: {}", untrusted::line(hint)));
    }
    lines.join("\n")
}

/// Returns the error for an argument that a tool cannot use.
pub(super) fn wrong_argument(message: impl Into<String>, hint: &str) -> Stop {
    CliError::new(Exit::Usage, message).hint(hint).into()
}

pub(super) fn internal(error: &serde_json::Error) -> CliError {
    CliError::new(Exit::Failure, "cannot write the answer as JSON").caused_by(error)
}

impl Answer for Value {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_causes_and_the_next_step() {
        let mut error = CliError::new(Exit::Permission, "the token has exp\u{1b}ired");
        error.causes.push("permission denied".to_owned());
        let stop = error.hint("run `vctl login`").into();
        let wanted = "error: the token has exp\\x1bired\n  caused by: permission denied\nhint: run `vctl login`";
        assert_eq!(text(&stop), wanted);
        assert_eq!(failure(&stop).is_error, Some(true));
    }
}
