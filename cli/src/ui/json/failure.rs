//! The error of a command as JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::escape;
use crate::error::CliError;

#[derive(Serialize)]
struct ErrorDocument<'a> {
    error: ErrorJson<'a>,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    /// Exit status of the command.
    code: u8,
    message: &'a str,
    causes: &'a [String],
    hint: Option<&'a str>,
}

/// Writes one line, so that programs can distinguish it from notes.
pub(crate) fn write_error(out: &mut dyn Write, error: &CliError) -> io::Result<()> {
    let error = ErrorJson {
        code: error.exit as u8,
        message: &error.message,
        causes: &error.causes,
        hint: error.hint.as_deref(),
    };
    ErrorDocument { error }.serialize(&mut escape::compact(&mut *out))?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::Exit;

    #[test]
    fn a_failure_is_one_line_that_a_program_can_read() {
        let mut error = CliError::new(Exit::Config, "a\nb \u{1b}[31m \u{202e}").hint("do it");
        error.causes = vec!["because".to_owned()];
        let mut out = Vec::new();
        write_error(&mut out, &error).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({"error": {
            "code": 78,
            "message": error.message,
            "causes": ["because"],
            "hint": "do it",
        }});
        assert_eq!(read, expected);
    }
}
