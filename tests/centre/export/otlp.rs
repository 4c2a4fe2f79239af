//! OTLP: the receiver here decodes the protobuf messages of OpenTelemetry and answers as the protocol says.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message as _;

use super::{Exporting, all_ids};

/// An answer of the receiver: a status line, headers and a body.
type Answer = (&'static str, Vec<u8>);

/// An OTLP/HTTP receiver that stores what it acknowledged.
struct Receiver {
    port: u16,
    stored: Arc<Mutex<Vec<LogRecord>>>,
    /// The times of the requests.
    requests: Arc<Mutex<Vec<Instant>>>,
}

impl Receiver {
    /// Gives `answers` to the first requests, and then acknowledges each.
    fn begin(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stored = Arc::<Mutex<Vec<LogRecord>>>::default();
        let requests = Arc::<Mutex<Vec<Instant>>>::default();
        let (into, times) = (stored.clone(), requests.clone());
        thread::spawn(move || {
            let mut answers = answers.into_iter();
            while let Ok((stream, _)) = listener.accept() {
                serve(stream, &mut answers, &into, &times);
            }
        });
        Self {
            port,
            stored,
            requests,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn stored(&self) -> Vec<LogRecord> {
        self.stored
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Answers the requests of one connection.
fn serve(
    stream: TcpStream,
    answers: &mut impl Iterator<Item = Answer>,
    into: &Mutex<Vec<LogRecord>>,
    times: &Mutex<Vec<Instant>>,
) {
    let mut out = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let head = head.to_lowercase();
        for line in head.lines() {
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        assert!(
            head.starts_with("post /v1/logs ") && head.contains("authorization: bearer x y\r\n"),
            "{head}"
        );
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        times
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Instant::now());
        let request = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
        let acknowledged = ("200 OK\r\ncontent-type: application/x-protobuf", Vec::new());
        let (status, body) = answers.next().unwrap_or(acknowledged);
        if status.starts_with("200") {
            let scopes = request
                .resource_logs
                .into_iter()
                .flat_map(|resource| resource.scope_logs);
            let records = scopes.flat_map(|scope| scope.log_records);
            into.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend(records);
        }
        let length = body.len();
        write!(out, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n").unwrap();
        out.write_all(&body).unwrap();
    }
}

fn text(record: &LogRecord, path: &[&str]) -> Option<String> {
    let mut value = record.body.as_ref()?.value.as_ref()?;
    for name in path {
        let Value::KvlistValue(fields) = value else {
            return None;
        };
        let field = fields.values.iter().find(|field| field.key == *name)?;
        value = field.value.as_ref()?.value.as_ref()?;
    }
    match value {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

#[test]
fn a_receiver_gets_each_event_once_after_an_outage() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let id = exporting.session(2_500, true);
    let truth = exporting.source.sessions.clone();
    exporting.wait_for_end(id);
    let receiver = Receiver::begin(vec![
        ("503 Service Unavailable\r\nretry-after: 3", Vec::new()),
        ("429 Too Many Requests", Vec::new()),
    ]);
    let checkpoint = exporting.file("position");
    let run = |url: &str| {
        exporting
            .export(&checkpoint, &["--otlp", url])
            .env("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20x%20y")
            .output()
            .unwrap()
    };
    let output = run(&receiver.url());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && output.stdout.is_empty(),
        "{said}"
    );
    assert!(
        said.contains("events cannot be sent now") && said.contains("takes events again"),
        "{said}"
    );
    let times = receiver.requests.lock().unwrap().clone();
    // The pause that the answer asks for, not the first one of the export, which is at most a second.
    assert!(times[1] - times[0] >= Duration::from_secs(3), "{times:?}");
    let stored = receiver.stored();
    let ours =
        |record: &&LogRecord| text(record, &["vctl", "session", "id"]) == Some(id.to_string());
    let mut ids: Vec<_> = stored
        .iter()
        .filter(ours)
        .filter_map(|record| text(record, &["event", "id"]))
        .collect();
    ids.sort();
    assert_eq!(ids, all_ids(&truth));
    assert!(
        stored
            .iter()
            .all(|record| record.time_unix_nano > 0 && record.event_name.starts_with("vctl."))
    );
    // A restart sends nothing again.
    assert!(run(&receiver.url()).status.success());
    // Other specs ship under this host at the same time.
    let again = receiver.stored();
    assert_eq!(again.iter().filter(ours).count(), ids.len());
}

#[test]
fn a_refusal_keeps_the_position_and_says_why() {
    let Some(mut exporting) = Exporting::new() else {
        return;
    };
    exporting.ship();
    let id = exporting.session(5, true);
    exporting.wait_for_end(id);
    let checkpoint = exporting.file("position");
    let run = |url: &str| {
        exporting
            .export(&checkpoint, &["--otlp", url])
            .env("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20x%20y")
            .output()
            .unwrap()
    };
    let html = "200 OK\r\ncontent-type: text/html";
    for (answer, code, words) in [
        (
            ("401 Unauthorized", Vec::new()),
            77,
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            ("400 Bad Request", b"no such index".to_vec()),
            1,
            "no such index",
        ),
        ((html, b"<html>".to_vec()), 1, "is not an answer of OTLP"),
    ] {
        let output = run(&Receiver::begin(vec![answer]).url());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{words}: {said}");
    }
    // The receiver keeps all but one, which the protocol forbids to send again: the user must read of it.
    let partial = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 1,
            error_message: "too old".to_owned(),
        }),
    };
    let answer = (
        "200 OK\r\ncontent-type: application/x-protobuf",
        partial.encode_to_vec(),
    );
    let receiver = Receiver::begin(vec![answer]);
    let output = run(&receiver.url());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("rejected 1 of") && said.contains("too old"),
        "{said}"
    );
    let ids: BTreeSet<_> = receiver
        .stored()
        .iter()
        .filter_map(|record| text(record, &["event", "id"]))
        .collect();
    assert!(ids.contains(&format!("{id}-5")));
}
