//! The whole result: what was compared, and what the reader must know about it.

use std::time::Duration;

use vctl_common::count::{counted, form};

use super::log::AuditLog;
use super::model::{Counts, Exception, Kind, Span};
use super::reconcile::Reconciled;
use super::store::StoredRecords;
use crate::ui::time;

/// Time without entries between two files that a running Vault hardly leaves: renewals of tokens are entries too.
const LONG_GAP: Duration = Duration::from_hours(1);
/// Maximum number of foreign mounts that are named.
const MOST_NAMED: usize = 5;

/// The result of one comparison.
pub(crate) struct Report<'a> {
    pub(crate) log: &'a AuditLog,
    pub(crate) stored: &'a StoredRecords,
    pub(crate) found: Reconciled<'a>,
    /// Time of the entries of the audit log.
    pub(crate) log_span: Span,
    /// Time of the records of the store.
    pub(crate) store_span: Span,
    /// The compared time: what both have, without the margin at each end.
    pub(crate) window: Span,
    pub(crate) margin: Duration,
    /// Address of Vault.
    pub(crate) vault: &'a str,
    /// Mounts of our CAs, without a slash at the end.
    pub(crate) mounts: &'a [String],
}

impl Report<'_> {
    /// Returns the reason for a failure; `None` if everything matches.
    pub(crate) fn verdict(&self) -> Option<String> {
        let exceptions = self.found.exceptions.len();
        let unreadable = self.unreadable();
        let mut parts = Vec::new();
        if exceptions > 0 {
            parts.push(counted(exceptions, "exception"));
        }
        if unreadable > 0 {
            parts.push(counted(unreadable, "unreadable record"));
        }
        (!parts.is_empty()).then(|| {
            let parts = parts.join(" and ");
            format!("the audit log and the records of vctl do not match: {parts}")
        })
    }

    /// Returns the number of records outside of the window.
    pub(crate) fn outside(&self) -> Counts {
        let (found, not_read) = (self.found.outside, self.stored.not_read);
        Counts {
            signatures: found.signatures,
            accesses: found.accesses + not_read.0,
            sessions: found.sessions + not_read.1,
        }
    }

    /// Returns the number of lines and rows that cannot be read, each of which can hide an exception.
    pub(crate) fn unreadable(&self) -> u64 {
        self.log.unreadable_count + self.stored.unreadable.len() as u64
    }

    /// Returns what the reader must know in addition to the exceptions.
    pub(crate) fn notes(&self) -> Vec<String> {
        let (log, vault) = (self.log, self.vault);
        let mut notes = Vec::new();
        let listed = log.unreadable.iter();
        notes.extend(listed.map(|line| format!("{}: {}", log.place(line.place), line.reason)));
        let more = log.unreadable_count - log.unreadable.len() as u64;
        if more > 0 {
            notes.push(format!("{} more cannot be read", counted(more, "line")));
        }
        for row in &self.stored.unreadable {
            notes.push(format!("{row} has a serial or a time that cannot be read"));
        }
        if let Some(cut) = &log.cut_off {
            let place = log.place(cut.place);
            notes.push(format!("{place}: {}; Vault may be writing it", cut.reason));
        }
        for file in log.files.iter().filter(|file| file.entries == 0) {
            notes.push(format!("{} has no entries", file.name));
        }
        if log.repeated > 0 {
            let count = counted(log.repeated, "repeated signature");
            let is = form(log.repeated, "is", "are");
            notes.push(format!(
                "{count} {is} counted once: the files are of several audit devices, or overlap"
            ));
        }
        notes.extend(self.gaps());
        for (mount, (count, place)) in log.foreign.iter().take(MOST_NAMED) {
            let (count, place) = (counted(*count, "signature"), log.place(*place));
            notes.push(format!(
                "not compared: {count} of `{mount}`, which is not a mount of vctl, first at {place}"
            ));
        }
        if log.foreign.len() > MOST_NAMED {
            let more = counted(log.foreign.len() - MOST_NAMED, "other mount");
            notes.push(format!("not compared: signatures of {more}"));
        }
        for (mount, accessors) in &log.accessors {
            if accessors.len() > 1 {
                let count = accessors.len();
                notes.push(format!(
                    "the signatures of `{mount}/` come from {count} mounts: it was created again, or the files are of several servers"
                ));
            }
        }
        let compared = self.found.compared;
        if compared.accesses > 0 && self.found.matched == 0 {
            notes.push(format!(
                "no access row of the compared time has a signature: is this the audit log of {vault}?"
            ));
        }
        if log.signatures.is_empty() {
            let mounts = self.mounts.join("/` or `");
            notes.push(format!("the audit log has no signature of `{mounts}/`"));
        }
        notes
    }

    /// Returns a note for each long time without entries between two files.
    fn gaps(&self) -> Vec<String> {
        let files = self.log.files.iter().enumerate();
        let spans = files.filter_map(|(index, file)| Some((file.span?, index)));
        let mut spans: Vec<(Span, usize)> = spans.collect();
        spans.sort_by_key(|(span, _)| span.from);
        let mut notes = Vec::new();
        let mut covered: Option<(Span, usize)> = None;
        for (span, file) in spans {
            let Some((before, last)) = covered else {
                covered = Some((span, file));
                continue;
            };
            if span
                .from
                .duration_since(before.to)
                .is_ok_and(|gap| gap > LONG_GAP)
            {
                let name = |file: usize| &self.log.files[file].name;
                notes.push(format!(
                    "there are no entries from {} to {}, between {} and {}: is a file missing?",
                    time::seconds(before.to),
                    time::seconds(span.from),
                    name(last),
                    name(file),
                ));
            }
            if span.to >= before.to {
                covered = Some((span, file));
            }
        }
        notes
    }

    /// Returns the display name in an exception: of the row that has no signature, else as Vault signed it, else as the
    /// row has it. A name that only a host reports is not proven.
    pub(crate) fn person(&self, exception: &Exception<'_>) -> (String, bool) {
        let text = |name| self.log.names.text(name).to_owned();
        let mut accesses = exception.accesses.iter();
        if exception.kind == Kind::AccessWithoutSignature
            && let Some(access) = accesses.find(|access| !access.is_ours)
        {
            return (text(access.person), true);
        }
        if let Some(signature) = exception.signature {
            return (text(signature.person), true);
        }
        if let Some(access) = exception.accesses.first() {
            return (text(access.person), true);
        }
        let key_id = exception
            .sessions
            .first()
            .and_then(|session| session.key_id);
        (key_id.map(text).unwrap_or_default(), false)
    }

    /// Returns the host in an exception; empty if no row and no session names one.
    pub(crate) fn host(&self, exception: &Exception<'_>) -> &str {
        let session = exception.sessions.first().map(|session| session.host);
        let access = || exception.accesses.first().map(|access| access.host);
        let host = session.or_else(access);
        host.map_or("", |host| self.log.names.text(host))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;
    use std::time::{SystemTime, UNIX_EPOCH};

    use vctl_common::id::{CertSerial, SessionId};

    use super::super::log::{LogFile, Unreadable};
    use super::super::model::{FailedAttempt, LoggedAccess, Place, SeenSession, Signature};
    use super::super::reconcile::reconcile;
    use super::*;

    const HOSTILE: &str = "oidc-\u{1b}[2J\u{202e}m";

    pub(crate) fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + second)
    }

    fn span(from: u64, to: u64) -> Span {
        Span {
            from: at(from),
            to: at(to),
        }
    }

    /// Calls `work` with a report that has every kind of exception, and hostile texts.
    pub(crate) fn with_report<T>(work: impl FnOnce(&Report<'_>) -> T) -> T {
        let mut log = AuditLog::default();
        let place = |line| Place { file: 0, line };
        let file = |name: &str, span| LogFile {
            name: name.to_owned(),
            lines: 9,
            entries: 8,
            span,
        };
        log.files = vec![
            file("audit.log", Some(span(8000, 9000))),
            file("\u{1b}[31maudit.log.1", Some(span(0, 1000))),
            LogFile {
                entries: 0,
                ..file("audit.log.2", None)
            },
        ];
        let names = &mut log.names;
        let signature =
            |names: &mut super::super::names::Names, serial, second, person| Signature {
                serial: CertSerial::new(serial),
                request: None,
                at: at(second),
                mount: names.of("ssh"),
                role: names.of("sre-core"),
                person: names.of(person),
                address: names.of("192.0.2.1"),
                place: place(serial.max(1)),
            };
        let mut signatures = vec![
            signature(names, 0, 500, "oidc-mallory"),
            signature(names, 7001, 510, "oidc-mallory"),
            signature(names, 7002, 520, HOSTILE),
            signature(names, 7005, 525, "oidc-mallory"),
        ];
        let unanswered = vec![signature(names, 0, 600, "oidc-mallory")];
        let access = |names: &mut super::super::names::Names, serial, person| LoggedAccess {
            id: 77,
            hop: 0,
            serial: CertSerial::new(serial).unwrap(),
            ca: Some(names.of("SHA256:ca")),
            is_ours: true,
            person: names.of(person),
            key_id: Some(names.of(HOSTILE)),
            host: names.of("web-1"),
            at: at(530),
        };
        let session = |names: &mut super::super::names::Names, serial, key_id| SeenSession {
            id: SessionId::generate(),
            serial: CertSerial::new(serial).unwrap(),
            ca: names.of("SHA256:ca"),
            key_id: Some(names.of(key_id)),
            host: names.of("web-1"),
            opened_at: at(540),
            signed_at: at(540),
        };
        let stored = StoredRecords {
            accesses: vec![
                access(names, 7002, "oidc-albert"),
                access(names, 7003, "oidc-albert"),
            ],
            sessions: vec![
                session(names, 7001, "oidc-mallory"),
                session(names, 7004, HOSTILE),
            ],
            attempts: vec![FailedAttempt {
                id: 78,
                person: names.of("oidc-mallory"),
                host: names.of("web-2"),
                at: at(526),
            }],
            not_read: (5, 6),
            unreadable: vec!["access 9".to_owned()],
        };
        log.signatures.append(&mut signatures);
        log.unanswered = unanswered;
        log.unreadable = vec![Unreadable {
            place: place(4),
            reason: "damaged".to_owned(),
        }];
        log.unreadable_count = 3;
        log.foreign.insert("team/".to_owned(), (2, place(5)));
        log.accessors.insert(
            "ssh".to_owned(),
            BTreeSet::from(["a".to_owned(), "b".to_owned()]),
        );
        log.repeated = 1;
        work(&Report {
            found: reconcile(&log, &stored, span(120, 8880)),
            log: &log,
            stored: &stored,
            log_span: span(0, 9000),
            store_span: span(0, 9500),
            window: span(120, 8880),
            margin: Duration::from_mins(2),
            vault: "https://vault:8200",
            mounts: &["ssh".to_owned()],
        })
    }

    #[test]
    fn everything_that_was_not_compared_is_noted() {
        let all = with_report(|report| report.notes().join("\n"));
        for part in [
            "audit.log:4: damaged",
            "2 lines more cannot be read",
            "access 9 has a serial",
            "audit.log.2 has no entries",
            "1 repeated signature is counted once",
            "no entries from 2027-01-15T08:16:40Z to 2027-01-15T10:13:20Z",
            "2 signatures of `team/`",
            "come from 2 mounts",
        ] {
            assert!(all.contains(part), "{part}: {all}");
        }
        let verdict = with_report(|report| {
            let verdict = report.verdict();
            verdict.unwrap()
        });
        assert!(
            verdict.contains("9 exceptions and 4 unreadable records"),
            "{verdict}"
        );
    }
}
