//! The comparison as text.

use std::io::{self, Write};

use vctl_common::count::{counted, form};
use vctl_common::person::Person;

use super::model::{Exception, Kind, Span};
use super::report::Report;
use crate::ui::columns::Columns;
use crate::ui::sanitize::text;
use crate::ui::{DIM, Layout, time};

const COLUMNS: Columns<6> = Columns {
    names: ["TIME", "EXCEPTION", "SERIAL", "PERSON", "HOST", "EVIDENCE"],
    elastic: &[1, 3, 4, 5],
    spare: &[],
};

/// Width of the names of the summary.
const NAME: usize = 12;
/// Maximum number of rows and sessions that a cell names.
const MOST_NAMED: usize = 3;

/// Writes what was compared, and a line for each exception.
pub(crate) fn write(out: &mut dyn Write, report: &Report<'_>, layout: Layout) -> io::Result<()> {
    for (name, text) in summary(report) {
        writeln!(out, "{DIM}{name:<NAME$}{DIM:#}{text}")?;
    }
    if report.found.exceptions.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let exceptions = report.found.exceptions.iter();
    let rows: Vec<_> = exceptions
        .map(|exception| cells(report, exception))
        .collect();
    COLUMNS.write(out, &rows, layout)
}

fn summary(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let found = &report.found;
    let period = |span: Span| format!("{} to {}", time::seconds(span.from), time::seconds(span.to));
    let compared = found.compared;
    let outside = report.outside();
    let entries = report.log.entries();
    vec![
        (
            "audit log",
            format!(
                "{}, {}, {}",
                counted(report.log.files.len(), "file"),
                format_args!("{entries} {}", form(entries, "entry", "entries")),
                period(report.log_span)
            ),
        ),
        ("records", period(report.store_span)),
        ("compared", period(report.window)),
        (
            "",
            format!(
                "{}, {}, {}",
                counted(compared.signatures, "signature"),
                counted(compared.accesses, "certificate") + " in access rows",
                counted(compared.sessions, "session")
            ),
        ),
        (
            "outside",
            format!(
                "{}, {}, {}",
                counted(outside.signatures, "signature"),
                counted(outside.accesses, "certificate") + " in access rows",
                counted(outside.sessions, "session")
            ),
        ),
        (
            "other",
            format!(
                "{}, {} by Vault",
                counted(found.host_certificates, "host certificate"),
                counted(report.log.refused, "request") + " refused"
            ),
        ),
    ]
}

/// Returns the cells of an exception, for a table and for CSV.
pub(super) fn cells(report: &Report<'_>, exception: &Exception<'_>) -> [String; 6] {
    let dash = |cell: String| {
        if cell.is_empty() {
            "-".to_owned()
        } else {
            cell
        }
    };
    let (person, is_proven) = report.person(exception);
    let person = text(Person::new(person).name());
    let mark = if is_proven || person.is_empty() {
        ""
    } else {
        "?"
    };
    [
        time::seconds(exception.at),
        words(exception.kind).to_owned(),
        dash(
            exception
                .serial
                .map(|serial| serial.to_string())
                .unwrap_or_default(),
        ),
        dash(format!("{mark}{person}")),
        dash(text(report.host(exception))),
        evidence(report, exception),
    ]
}

fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::SignatureWithoutAccess => "signed, no access row",
        Kind::AccessWithoutSignature => "access row, not signed",
        Kind::SessionWithoutAccess => "session, no access row",
        Kind::SessionWithoutSignature => "session, not signed",
        Kind::IdentityDiffers => "names differ",
        Kind::SignatureWithoutSerial => "signed, serial hidden",
        Kind::RequestWithoutResponse => "request, no response",
    }
}

/// Returns where the parts of a certificate's record are, and what they say.
pub(super) fn evidence(report: &Report<'_>, exception: &Exception<'_>) -> String {
    let name = |name| text(report.log.names.text(name));
    let mut parts = Vec::new();
    if let Some(signature) = exception.signature {
        let verb = match exception.kind {
            Kind::RequestWithoutResponse => "requested",
            _ => "signed",
        };
        parts.push(format!(
            "{verb} for {} from {} with {}/{} ({})",
            name(signature.person),
            name(signature.address),
            name(signature.mount),
            name(signature.role),
            text(report.log.place(signature.place)),
        ));
    }
    for access in exception.accesses.iter().take(MOST_NAMED) {
        let mut part = format!(
            "access {} of {} to {}",
            access.id,
            name(access.person),
            name(access.host)
        );
        let key_id = access.key_id.filter(|key_id| *key_id != access.person);
        if let Some(key_id) = key_id {
            part += " with key id ";
            part += &name(key_id);
        }
        match access.ca {
            _ if access.is_ours => {}
            Some(ca) => part = format!("{part} with the CA {}, which is not ours", name(ca)),
            None => part += " without a CA",
        }
        parts.push(part);
    }
    for session in exception.sessions.iter().take(MOST_NAMED) {
        let key_id = session.key_id.map_or_else(|| "-".to_owned(), name);
        parts.push(format!(
            "session {} of key id {key_id} on {}",
            session.id,
            name(session.host)
        ));
    }
    if let Some(attempt) = exception.attempt {
        parts.push(format!(
            "perhaps for access {} to {}, which failed without a certificate",
            attempt.id,
            name(attempt.host)
        ));
    }
    let all = exception.accesses.len() + exception.sessions.len();
    let named = exception.accesses.len().min(MOST_NAMED) + exception.sessions.len().min(MOST_NAMED);
    if all > named {
        parts.push(format!("{} more", all - named));
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::with_report;
    use super::*;
    use crate::fixture::rendered;

    #[test]
    fn each_exception_has_a_line_with_its_evidence() {
        let shown = with_report(|report| rendered(|out| write(out, report, Layout::default())));
        for part in [
            "3 files, 16 entries, ",
            "3 signatures, 2 certificates in access rows, 2 sessions",
            "signed, no access row   7001    mallory",
            "signed for oidc-mallory from 192.0.2.1 with ssh/sre-core (audit.log:7001)",
            "perhaps for access 78 to web-2, which failed without a certificate",
            "access 77 of oidc-albert to web-1 with key id oidc-\\x1b[2J\\u202em",
            "session, not signed     7004    ?\\x1b[2J\\u202em",
            "request, no response    -       mallory",
        ] {
            assert!(shown.contains(part), "{part}:\n{shown}");
        }
        assert!(
            !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
            "{shown}"
        );
    }
}
