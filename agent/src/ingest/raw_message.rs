//! Reads messages of the stream without their headers: those are a publisher's bytes, and may be no headers at all.

use async_nats::jetstream::response::Response;
use async_nats::jetstream::{Context, ErrorCode, Message as Delivered};
use base64ct::{Base64, Encoding as _};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use vctl_common::causes::WithCauses;

use super::stream::StreamError;
use crate::nats::{STREAM, SUBJECT};

/// A message that the stream has. The answer also has the headers, which are left out here.
#[derive(Debug, Deserialize)]
struct Raw {
    #[serde(rename = "seq")]
    sequence: u64,
    /// The payload in base64. An empty payload is missing.
    #[serde(default)]
    data: String,
}

#[derive(Debug, Deserialize)]
struct Answer {
    message: Raw,
}

impl Raw {
    fn payload(&self) -> Result<Bytes, StreamError> {
        let payload = Base64::decode_vec(&self.data).map_err(|error| StreamError::Request {
            why: format!("message {} is not base64: {error}", self.sequence),
        })?;
        Ok(payload.into())
    }
}

/// Returns the payload of a message; `None` if it has left the stream.
pub(super) async fn payload(
    context: &Context,
    delivered: &Delivered,
    sequence: u64,
) -> Result<Option<Bytes>, StreamError> {
    if !delivered.payload.is_empty() {
        return Ok(Some(delivered.payload.clone()));
    }
    let raw = ask(context, &json!({ "seq": sequence })).await?;
    raw.map(|raw| raw.payload()).transpose()
}

/// Returns the first message of a name, if it is before `sequence`.
pub(super) async fn earlier(
    context: &Context,
    name: &str,
    sequence: u64,
) -> Result<Option<Bytes>, StreamError> {
    let subject = format!("{SUBJECT}.{name}");
    let first = ask(context, &json!({ "seq": 1, "next_by_subj": subject })).await?;
    let first = first.filter(|first| first.sequence < sequence);
    first.map(|first| first.payload()).transpose()
}

async fn ask(context: &Context, wanted: &serde_json::Value) -> Result<Option<Raw>, StreamError> {
    let subject = format!("STREAM.MSG.GET.{STREAM}");
    let answer = context.request(subject, wanted).await;
    match answer.map_err(|error| failed(&error))? {
        Response::Ok(Answer { message }) => Ok(Some(message)),
        Response::Err { error } if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
        Response::Err { error } => Err(failed(&error)),
    }
}

fn failed(error: &(impl std::error::Error + 'static)) -> StreamError {
    StreamError::Request {
        why: WithCauses(error).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_any_headers_has_its_payload() {
        for (data, payload) in [(r#","data":"eA==""#, "x"), ("", "")] {
            let text = format!(
                r#"{{"type":"t","message":{{"subject":"vctl.events.web-1","seq":7,"hdrs":"//4="{data},"time":"2026-01-01T00:00:00Z"}}}}"#
            );
            let Response::Ok(Answer { message }) = serde_json::from_str(&text).unwrap() else {
                panic!("{text}");
            };
            assert_eq!(message.sequence, 7);
            assert_eq!(message.payload().unwrap(), payload);
        }
    }
}
