//! Results of tools, and errors that name the next step.

use std::borrow::Cow;

use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
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

/// A number in the arguments. The error for another value does not name a type of Rust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Count(pub(super) u64);

impl Count {
    /// Returns the length of a list. 0 is what some clients send for an argument that the model left out.
    pub(super) fn limit(wanted: Option<Self>, usual: usize, most: usize) -> usize {
        let limit = wanted.map_or(0, Self::index);
        if limit == 0 { usual } else { limit.min(most) }
    }

    /// Returns the number as an index. One that is too high for this machine is after the end of everything.
    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// The schema of a `u64`.
impl JsonSchema for Count {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        u64::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        u64::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let number = value.as_u64().map(Self);
        number.ok_or_else(|| {
            let message = format!("`{value}` is not an integer of at least 0");
            serde::de::Error::custom(message)
        })
    }
}

/// Reads an optional text. Some clients send an empty one for an argument that the model left out.
pub(super) fn text_or_empty<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_value_is_not_a_count() {
        let read = |value: Value| serde_json::from_value::<Count>(value).map(|count| count.0);
        assert_eq!(read(json!(7)).unwrap(), 7);
        for wrong in [json!(-1), json!(1.5), json!("7"), json!(1e30)] {
            let error = read(wrong.clone()).unwrap_err().to_string();
            assert_eq!(error, format!("`{wrong}` is not an integer of at least 0"));
        }
    }

    #[test]
    fn a_limit_stays_in_its_range() {
        assert_eq!(Count::limit(None, 20, 200), 20);
        for (limit, used) in [(0, 20), (1, 1), (200, 200), (201, 200), (u64::MAX, 200)] {
            assert_eq!(Count::limit(Some(Count(limit)), 20, 200), used);
        }
    }

    #[test]
    fn an_empty_text_counts_as_absent() {
        #[derive(Deserialize)]
        struct Arguments {
            #[serde(default, deserialize_with = "text_or_empty")]
            user: Option<String>,
        }
        let user = |value: Value| serde_json::from_value::<Arguments>(value).unwrap().user;
        for absent in [json!({}), json!({"user": ""}), json!({"user": null})] {
            assert_eq!(user(absent), None);
        }
        assert_eq!(user(json!({"user": "anna"})).as_deref(), Some("anna"));
    }

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
