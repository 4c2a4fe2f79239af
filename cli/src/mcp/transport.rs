//! Standard input and output as a transport: one JSON-RPC message on each line.
//!
//! rmcp's own transport ignores a line that is not JSON, and answers a wrong message without its id, so that the client
//! waits for ever. This one answers both.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorCode, GetMeta as _, ProtocolVersion,
    ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::ssh::{Input, Output};

/// Maximum length of a message. A longer one is discarded up to its newline.
const LONGEST: usize = 4 << 20;

/// Maximum number of answers to wrong lines that wait for a slow reader.
const WAITING_ANSWERS: usize = 64;

/// Longest wait at the end for a client that reads slowly. One that reads nothing must not keep the server running.
const LAST_LINES: Duration = Duration::from_secs(1);

pub(super) struct LineTransport {
    input: Input,
    lines: Lines,
    output: LineOutput,
    answering: JoinSet<()>,
    /// The session has begun, so rmcp accepts notifications and responses.
    has_begun: bool,
    has_ended: bool,
    is_over: watch::Sender<bool>,
}

impl LineTransport {
    /// Starts reading. `is_over` becomes true at the end of the input.
    pub(super) fn new(is_over: watch::Sender<bool>) -> Self {
        Self {
            input: Input::stdin(),
            lines: Lines::default(),
            output: LineOutput::stdout(),
            answering: JoinSet::new(),
            has_begun: false,
            has_ended: false,
            is_over,
        }
    }

    pub(super) fn output(&self) -> LineOutput {
        self.output.clone()
    }

    /// Returns the next message. Cancel safe: rmcp drops this future whenever it has another event.
    async fn next(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            while self.answering.len() >= WAITING_ANSWERS {
                self.answering.join_next().await;
            }
            let Some(line) = self.lines.next() else {
                self.lines.push(&self.input.next().await?);
                continue;
            };
            match read(line) {
                Read::Message(message) => {
                    self.has_begun |= begins_session(&message);
                    let is_request = matches!(*message, ClientJsonRpcMessage::Request(_));
                    // Before the session, rmcp would end the server for a notification.
                    if self.has_begun || is_request {
                        return Some(*message);
                    }
                }
                Read::Wrong(answer) => {
                    let write = self.output.write(line_of(&answer));
                    self.answering.spawn(async move {
                        // A client that is gone is noticed at the end of the input.
                        let _ = write.await;
                    });
                }
                Read::Nothing => {}
            }
        }
    }

    /// Completes the answers to wrong lines.
    async fn answer_all(&mut self) {
        let all = async { while self.answering.join_next().await.is_some() {} };
        let _ = timeout(LAST_LINES, all).await;
    }
}

/// Returns whether rmcp begins a session with this message: `initialize`, or since the protocol of 2026 any request
/// that names its version, except two that only ask about the server.
fn begins_session(message: &ClientJsonRpcMessage) -> bool {
    let ClientJsonRpcMessage::Request(request) = message else {
        return false;
    };
    match &request.request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_) => false,
        other => {
            let meta = other.get_meta();
            let version = meta.protocol_version();
            let missing = meta.missing_required_keys(&ProtocolVersion::V_2026_07_28);
            missing.is_empty()
                && version.is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
        }
    }
}

impl Transport<RoleServer> for LineTransport {
    type Error = io::Error;

    fn send(
        &mut self,
        item: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.output.write(line_of(&item))
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        if !self.has_ended {
            // A signal has ended the server.
            if *self.is_over.borrow() {
                return pending().await;
            }
            let message = self.next().await;
            if message.is_some() {
                return message;
            }
            self.has_ended = true;
            self.is_over.send_replace(true);
        }
        // Before a session, rmcp drops this transport without `close`.
        self.answer_all().await;
        None
    }

    async fn close(&mut self) -> io::Result<()> {
        self.answer_all().await;
        self.output.finish().await;
        Ok(())
    }
}

fn line_of(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    Ok(line)
}

/// Standard output, one message on each line.
#[derive(Clone)]
pub(super) struct LineOutput(Arc<Mutex<Option<Output>>>);

impl LineOutput {
    fn stdout() -> Self {
        Self(Arc::new(Mutex::new(Some(Output::stdout()))))
    }

    fn write(
        &self,
        line: io::Result<Vec<u8>>,
    ) -> impl Future<Output = io::Result<()>> + Send + use<> {
        let output = Arc::clone(&self.0);
        async move {
            let line = line?;
            let mut output = output.lock().await;
            let Some(output) = output.as_mut() else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let written = output.write(Bytes::from(line)).await;
            written.map_err(io::Error::other)
        }
    }

    /// Writes what is queued. Later lines are refused.
    pub(super) async fn finish(&self) {
        let finishing = async {
            if let Some(output) = self.0.lock().await.take() {
                // A client that has closed its end needs no more output.
                let _ = output.finish().await;
            }
        };
        let _ = timeout(LAST_LINES, finishing).await;
    }
}

/// The lines of the input so far.
#[derive(Debug, Default)]
struct Lines {
    buffer: Vec<u8>,
    /// Beginning of the line that is not returned yet.
    start: usize,
    /// Bytes of `buffer` without a newline at or after `start`.
    searched: usize,
    is_discarding: bool,
}

/// A line, or a line that was too long.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Whole(Vec<u8>),
    TooLong,
}

impl Lines {
    fn push(&mut self, piece: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(piece);
    }

    fn next(&mut self) -> Option<Line> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
                self.searched = self.buffer.len();
                if self.searched - self.start <= LONGEST {
                    return None;
                }
                (self.start, self.searched) = (0, 0);
                self.buffer.clear();
                if std::mem::replace(&mut self.is_discarding, true) {
                    return None;
                }
                return Some(Line::TooLong);
            };
            let end = self.searched + length;
            let line = self.buffer.get(self.start..end).unwrap_or_default();
            let is_too_long = line.len() > LONGEST;
            let line = line.to_vec();
            (self.start, self.searched) = (end + 1, end + 1);
            if std::mem::take(&mut self.is_discarding) {
                continue;
            }
            return Some(if is_too_long {
                Line::TooLong
            } else {
                Line::Whole(line)
            });
        }
    }
}

/// Meaning of a line.
enum Read {
    Message(Box<ClientJsonRpcMessage>),
    /// The answer to a wrong line.
    Wrong(Value),
    /// An empty line, or a wrong notification: notifications are never answered.
    Nothing,
}

fn read(line: Line) -> Read {
    let Line::Whole(line) = line else {
        let text = format!("the message is longer than {LONGEST} bytes");
        return wrong(None, ErrorCode::INVALID_REQUEST, &text);
    };
    let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
    let text = text.trim_ascii();
    if text.is_empty() {
        return Read::Nothing;
    }
    let value: Value = match serde_json::from_slice(text) {
        Ok(value) => value,
        Err(error) => {
            let text = format!("the line is not JSON: {error}");
            return wrong(None, ErrorCode::PARSE_ERROR, &text);
        }
    };
    let Some(object) = value.as_object() else {
        let text = if value.is_array() {
            "MCP has no batches: send each message on a line of its own"
        } else {
            "a message is a JSON object"
        };
        return wrong(None, ErrorCode::INVALID_REQUEST, text);
    };
    let id = object.get("id").cloned();
    let method = object.get("method").and_then(Value::as_str);
    let method = method.map(str::to_owned);
    if let Some(id) = &id
        && !id.is_string()
        && !id.is_i64()
    {
        let text = "`id` must be a string or an integer of at most 63 bits";
        return wrong(None, ErrorCode::INVALID_REQUEST, text);
    }
    let version = object.get("jsonrpc").and_then(Value::as_str);
    if version != Some("2.0") {
        let text = "`jsonrpc` must be \"2.0\"";
        return wrong(id, ErrorCode::INVALID_REQUEST, text);
    }
    match (serde_json::from_value(value), id, method) {
        (Ok(message), ..) => Read::Message(Box::new(message)),
        (Err(_), id @ Some(_), Some(method)) => {
            let text = format!("the parameters do not fit the method `{method}`");
            wrong(id, ErrorCode::INVALID_PARAMS, &text)
        }
        (Err(_), None, Some(_)) => Read::Nothing,
        (Err(_), id, None) => {
            let text = "the message is not a request, a notification or a response";
            wrong(id, ErrorCode::INVALID_REQUEST, text)
        }
    }
}

/// Returns an error answer. Without a known id it has none, as in the schema of MCP.
fn wrong(id: Option<Value>, code: ErrorCode, text: &str) -> Read {
    let mut answer = json!({
        "jsonrpc": "2.0",
        "error": {"code": code.0, "message": text},
    });
    if let Some(id) = id {
        answer["id"] = id;
    }
    Read::Wrong(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> Value {
        match read(Line::Whole(line.as_bytes().to_vec())) {
            Read::Wrong(answer) => answer,
            Read::Message(message) => panic!("{line} is a message: {message:?}"),
            Read::Nothing => Value::Null,
        }
    }

    #[test]
    fn wrong_lines_get_the_code_of_json_rpc() {
        for (line, code) in [
            ("{", -32700),
            ("nonsense", -32700),
            ("\u{7f}", -32700),
            ("5", -32600),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, -32600),
            (r#"{"id":1,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600),
            (r#"{"jsonrpc":"2.0","id":1e300,"method":"ping"}"#, -32600),
            (
                r#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}"#,
                -32600,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":5}"#,
                -32602,
            ),
            (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        ] {
            assert_eq!(answer(line)["error"]["code"], code, "{line}");
        }
    }

    #[test]
    fn a_wrong_request_is_answered_under_its_id() {
        let wrong = answer(r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":5}"#);
        assert_eq!(wrong["id"], "a");
        let unknown = answer("{");
        assert!(unknown.get("id").is_none(), "{unknown}");
    }

    #[test]
    fn a_wrong_notification_is_not_answered() {
        let line = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":7}"#;
        assert_eq!(answer(line), Value::Null);
        assert_eq!(answer("  \r"), Value::Null);
    }

    #[test]
    fn unknown_methods_and_large_ids_are_messages() {
        for line in [
            r#"{"jsonrpc":"2.0","id":9223372036854775807,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":-1,"method":"nothing/like/this","params":{}}"#,
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"ping\"}\r",
        ] {
            let read = read(Line::Whole(line.as_bytes().to_vec()));
            assert!(matches!(read, Read::Message(_)), "{line}");
        }
    }

    #[test]
    fn only_some_requests_begin_a_session() {
        let begins = |method: &str, params: &str| {
            let line =
                format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            match read(Line::Whole(line.into_bytes())) {
                Read::Message(message) => begins_session(&message),
                _ => panic!("{method} is not a message"),
            }
        };
        let hello = r#"{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}"#;
        assert!(begins("initialize", hello));
        let inline = |version: &str| {
            let meta = json!({
                "io.modelcontextprotocol/protocolVersion": version,
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            json!({"_meta": meta}).to_string()
        };
        assert!(begins("tools/list", &inline("2026-07-28")));
        for (method, params) in [
            ("ping", "{}".to_owned()),
            ("ping", inline("2026-07-28")),
            ("tools/list", "{}".to_owned()),
            ("tools/list", inline("1999-01-01")),
        ] {
            assert!(!begins(method, &params), "{method} {params}");
        }
    }

    #[test]
    fn lines_are_found_across_pieces() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in ["on", "e\ntw", "o\n\nthree", "", "\nrest"] {
            lines.push(piece.as_bytes());
            found.extend(std::iter::from_fn(|| lines.next()));
        }
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(
            found,
            [whole("one"), whole("two"), whole(""), whole("three")]
        );
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory() {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for _ in 0..10 {
            lines.push(&vec![b'x'; LONGEST / 2]);
            found.extend(std::iter::from_fn(|| lines.next()));
            assert!(lines.buffer.len() <= LONGEST + LONGEST / 2);
        }
        lines.push(b"tail\nnext\n");
        found.extend(std::iter::from_fn(|| lines.next()));
        assert_eq!(found, [Line::TooLong, Line::Whole(b"next".to_vec())]);
    }
}
