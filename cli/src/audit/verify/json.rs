//! The comparison as JSON. `docs/audit-verify.md` specifies it.

use std::io::{self, Write};

use serde::Serialize;
use vctl_common::id::{CertSerial, SessionId};

use super::model::{Exception, Kind, LoggedAccess, SeenSession, Signature, Span};
use super::report::Report;
use super::text;
use crate::ui::format::OutputFormat;
use crate::ui::records::Records;
use crate::ui::{json, records, time};

const VERSION: u32 = 1;

#[derive(Serialize)]
struct DocumentJson<'a> {
    version: u32,
    matches: bool,
    window: SpanJson,
    margin_s: u64,
    audit_log: LogJson<'a>,
    store: StoreJson,
    compared: CountsJson,
    outside: CountsJson,
    host_certificates: u64,
    /// Notes: records that the audit log may lack, and records that were not compared.
    notes: Vec<String>,
    exception_counts: Vec<KindJson>,
    exceptions: Vec<ExceptionJson<'a>>,
}

#[derive(Serialize)]
struct SpanJson {
    from: String,
    to: String,
}

impl From<Span> for SpanJson {
    fn from(span: Span) -> Self {
        Self {
            from: time::nanos(span.from),
            to: time::nanos(span.to),
        }
    }
}

#[derive(Serialize)]
struct LogJson<'a> {
    window: SpanJson,
    refused_requests: u64,
    unreadable_lines: u64,
    /// The first unreadable lines.
    unreadable: Vec<UnreadableJson<'a>>,
    last_line_incomplete: bool,
    files: Vec<FileJson<'a>>,
}

#[derive(Serialize)]
struct UnreadableJson<'a> {
    file: &'a str,
    line: u64,
    reason: &'a str,
}

#[derive(Serialize)]
struct FileJson<'a> {
    file: &'a str,
    lines: u64,
    entries: u64,
    window: Option<SpanJson>,
}

#[derive(Serialize)]
struct StoreJson {
    window: SpanJson,
    unreadable_rows: usize,
}

#[derive(Serialize)]
struct CountsJson {
    signatures: u64,
    accesses: u64,
    sessions: u64,
}

#[derive(Serialize)]
struct KindJson {
    kind: &'static str,
    count: usize,
}

#[derive(Serialize)]
struct ExceptionJson<'a> {
    kind: &'static str,
    time: String,
    serial: Option<CertSerial>,
    person: Option<String>,
    /// Whether Vault or the database proves the person; a host only claims it.
    person_proven: bool,
    host: Option<&'a str>,
    signature: Option<SignatureJson<'a>>,
    accesses: Vec<AccessJson<'a>>,
    sessions: Vec<SessionJson<'a>>,
    /// A row of the same person without a certificate, which may be the attempt that the certificate was signed for.
    failed_attempt: Option<AttemptJson<'a>>,
}

#[derive(Serialize)]
struct AttemptJson<'a> {
    id: i64,
    time: String,
    host: &'a str,
}

#[derive(Serialize)]
struct SignatureJson<'a> {
    time: String,
    display_name: &'a str,
    remote_address: &'a str,
    mount: &'a str,
    role: &'a str,
    file: &'a str,
    line: u64,
}

#[derive(Serialize)]
struct AccessJson<'a> {
    id: i64,
    hop: i32,
    time: String,
    person: &'a str,
    host: &'a str,
    key_id: Option<&'a str>,
    ca_fingerprint: Option<&'a str>,
    ca_is_ours: bool,
}

#[derive(Serialize)]
struct SessionJson<'a> {
    session_id: SessionId,
    time: String,
    host: &'a str,
    key_id: Option<&'a str>,
    ca_fingerprint: &'a str,
}

/// Writes the comparison in a format for programs.
pub(crate) fn write(
    out: &mut dyn Write,
    format: OutputFormat,
    report: &Report<'_>,
) -> io::Result<()> {
    if matches!(format, OutputFormat::Json | OutputFormat::Yaml) {
        return json::write_in(out, format, &document(report));
    }
    records::write(
        out,
        format,
        &Exceptions { report },
        &report.found.exceptions,
    )
}

fn document<'a>(report: &'a Report<'a>) -> DocumentJson<'a> {
    let (log, found) = (report.log, &report.found);
    let file_name = |index: usize| log.files.get(index).map_or("", |file| &*file.name);
    let count = |kind: Kind| KindJson {
        kind: kind.word(),
        count: found
            .exceptions
            .iter()
            .filter(|one| one.kind == kind)
            .count(),
    };
    let outside = report.outside();
    DocumentJson {
        version: VERSION,
        matches: report.verdict().is_none(),
        window: report.window.into(),
        margin_s: report.margin.as_secs(),
        audit_log: LogJson {
            window: report.log_span.into(),
            refused_requests: log.refused,
            unreadable_lines: log.unreadable_count,
            unreadable: (log.unreadable.iter())
                .map(|line| UnreadableJson {
                    file: file_name(line.place.file),
                    line: line.place.line,
                    reason: &line.reason,
                })
                .collect(),
            last_line_incomplete: log.cut_off.is_some(),
            files: (log.files.iter())
                .map(|file| FileJson {
                    file: &file.name,
                    lines: file.lines,
                    entries: file.entries,
                    window: file.span.map(SpanJson::from),
                })
                .collect(),
        },
        store: StoreJson {
            window: report.store_span.into(),
            unreadable_rows: report.stored.unreadable.len(),
        },
        compared: CountsJson {
            signatures: found.compared.signatures,
            accesses: found.compared.accesses,
            sessions: found.compared.sessions,
        },
        outside: CountsJson {
            signatures: outside.signatures,
            accesses: outside.accesses,
            sessions: outside.sessions,
        },
        host_certificates: found.host_certificates,
        notes: report.notes(),
        exception_counts: Kind::ALL.into_iter().map(count).collect(),
        exceptions: found
            .exceptions
            .iter()
            .map(|one| exception(report, one))
            .collect(),
    }
}

fn exception<'a>(report: &'a Report<'a>, exception: &Exception<'a>) -> ExceptionJson<'a> {
    let (person, person_proven) = report.person(exception);
    let host = report.host(exception);
    ExceptionJson {
        kind: exception.kind.word(),
        time: time::nanos(exception.at),
        serial: exception.serial,
        person_proven: person_proven && !person.is_empty(),
        person: (!person.is_empty()).then_some(person),
        host: (!host.is_empty()).then_some(host),
        signature: exception.signature.map(|one| signature(report, one)),
        accesses: exception
            .accesses
            .iter()
            .map(|one| access(report, one))
            .collect(),
        sessions: exception
            .sessions
            .iter()
            .map(|one| session(report, one))
            .collect(),
        failed_attempt: exception.attempt.map(|attempt| AttemptJson {
            id: attempt.id,
            time: time::nanos(attempt.at),
            host: report.log.names.text(attempt.host),
        }),
    }
}

fn signature<'a>(report: &'a Report<'a>, signature: &Signature) -> SignatureJson<'a> {
    let names = &report.log.names;
    let file = report.log.files.get(signature.place.file);
    SignatureJson {
        time: time::nanos(signature.at),
        display_name: names.text(signature.person),
        remote_address: names.text(signature.address),
        mount: names.text(signature.mount),
        role: names.text(signature.role),
        file: file.map_or("", |file| &file.name),
        line: signature.place.line,
    }
}

fn access<'a>(report: &'a Report<'a>, access: &LoggedAccess) -> AccessJson<'a> {
    let names = &report.log.names;
    AccessJson {
        id: access.id,
        hop: access.hop,
        time: time::nanos(access.at),
        person: names.text(access.person),
        host: names.text(access.host),
        key_id: access.key_id.map(|key_id| names.text(key_id)),
        ca_fingerprint: access.ca.map(|ca| names.text(ca)),
        ca_is_ours: access.is_ours,
    }
}

fn session<'a>(report: &'a Report<'a>, session: &SeenSession) -> SessionJson<'a> {
    let names = &report.log.names;
    SessionJson {
        session_id: session.id,
        time: time::nanos(session.opened_at),
        host: names.text(session.host),
        key_id: session.key_id.map(|key_id| names.text(key_id)),
        ca_fingerprint: names.text(session.ca),
    }
}

/// Exceptions, for every output format that is a list.
struct Exceptions<'a> {
    report: &'a Report<'a>,
}

impl<'a> Records for Exceptions<'a> {
    const NAME: &'static str = "exceptions";
    const VERSION: u32 = VERSION;
    const COLUMNS: &'static [&'static str] =
        &["time", "kind", "serial", "person", "host", "evidence"];
    type Record = Exception<'a>;

    fn json(&self, one: &Exception<'a>) -> impl Serialize {
        exception(self.report, one)
    }

    fn cells(&self, one: &Exception<'a>) -> Vec<String> {
        let [time, _, serial, person, host, evidence] = text::cells(self.report, one);
        let empty = |cell: String| if cell == "-" { String::new() } else { cell };
        vec![
            time,
            one.kind.word().to_owned(),
            empty(serial),
            empty(person),
            empty(host),
            evidence,
        ]
    }

    /// Returns the serial, which `vctl session` accepts.
    fn name(&self, one: &Exception<'a>) -> String {
        one.serial
            .map_or_else(|| "-".to_owned(), |serial| serial.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::with_report;
    use super::*;
    use crate::fixture::rendered;
    use crate::ui::json::schema;

    fn shown(format: OutputFormat) -> String {
        with_report(|report| rendered(|out| write(out, format, report)))
    }

    #[test]
    fn every_exception_fits_the_schema() {
        let document = serde_json::from_str(&shown(OutputFormat::Json)).unwrap();
        schema::assert_fits(schema::OF_VERIFY, None, &document);
        assert_eq!(document["matches"], false);
        let notes = document["notes"].as_array().unwrap();
        let is_gap =
            |note: &&serde_json::Value| note.as_str().unwrap().contains("is a file missing?");
        assert_eq!(notes.iter().filter(is_gap).count(), 1, "{notes:?}");
        let kinds = document["exception_counts"].as_array().unwrap();
        assert!(
            kinds.iter().all(|kind| kind["count"].as_u64() > Some(0)),
            "{kinds:?}"
        );
        let lines = shown(OutputFormat::Jsonl);
        let count = document["exceptions"].as_array().unwrap().len();
        assert_eq!(lines.lines().count(), count);
        for line in lines.lines() {
            let exception = serde_json::from_str(line).unwrap();
            schema::assert_fits(schema::OF_VERIFY, Some("exception"), &exception);
        }
        assert_eq!(shown(OutputFormat::Csv).matches("\r\n").count(), count + 1);
        assert_eq!(shown(OutputFormat::Name).lines().count(), count);
        assert!(shown(OutputFormat::Yaml).starts_with("\"version\": 1\n"));
    }
}
