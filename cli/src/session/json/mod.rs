//! Sessions as JSON, for programs. `docs/session-json.md` specifies it.
//!
//! 64-bit ids and clock readings are strings, because a JSON reader that stores numbers as doubles would round them.
//! Bytes that are not UTF-8 become `{"hex": "..."}`.

pub(crate) mod event;
pub(crate) mod provenance;
pub(crate) mod running;
pub(crate) mod session;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use vctl_common::id::SessionId;

use self::event::EventJson;
use self::session::{GapJson, SessionJson, gap_json, session_json};
use crate::session::model::ListedSession;
use crate::session::model::grep::SearchResult;
use crate::session::model::{Event, History, MissingRange, Session};
use crate::ui::format::OutputFormat;
use crate::ui::json::{write, write_as_line, write_yaml};
use crate::ui::records::Records;

/// Changes when a field changes its meaning or is removed; new fields may be added at any time.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    sessions: Vec<SessionJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned: Option<PrunedJson<'a>>,
}

/// The selected sessions of which events were deleted before a search.
#[derive(Serialize)]
struct PrunedJson<'a> {
    sessions: u64,
    more: bool,
    events_since: Option<&'a str>,
}

/// One line of `--follow --json`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum LiveJson<'a> {
    Opened {
        version: u32,
        /// Time from its opening to its arrival, if the session arrived late.
        late_by_ns: Option<String>,
        session: Box<SessionJson<'a>>,
    },
    Event {
        session_id: SessionId,
        event: Box<EventJson<'a>>,
    },
    /// An event of sshd or PAM at login or logout.
    LoginEvent {
        session_id: SessionId,
        event: Box<EventJson<'a>>,
    },
    Gap {
        session_id: SessionId,
        gap: GapJson,
    },
    Closed {
        session: Box<SessionJson<'a>>,
    },
}

/// Sessions without their events, for every output format.
pub(crate) struct Sessions;

impl Records for Sessions {
    const NAME: &'static str = "sessions";
    const VERSION: u32 = VERSION;
    const COLUMNS: &'static [&'static str] = &[
        "session_id",
        "host",
        "person",
        "login_user",
        "source_ip",
        "source_port",
        "auth_method",
        "serial",
        "certificate.key_id",
        "certificate.ca_fingerprint",
        "origin.kind",
        "stamp",
        "opened_at",
        "closed_at",
        "duration_ns",
        "open",
        "complete",
        "events_stored",
        "events_missing.counted",
        "events_missing.uncounted",
        "commands",
        "verified",
        "verification",
        "contradictions",
    ];
    type Record = ListedSession;

    fn json(&self, listed: &ListedSession) -> impl Serialize {
        session_json(&listed.session).listed(listed.commands)
    }

    /// The id, which `vctl session` accepts; several sessions may have the same serial.
    fn name(&self, listed: &ListedSession) -> String {
        listed.session.opened.id.to_string()
    }
}

/// Writes sessions with their matching events.
pub(crate) fn write_matches(
    out: &mut dyn Write,
    format: OutputFormat,
    found: &SearchResult,
) -> io::Result<()> {
    let sessions = found.matches.iter().map(|found| {
        session_json(&found.session)
            .with(&found.events)
            .found(found.more)
    });
    let pruned = found.pruned.as_ref().map(|pruned| PrunedJson {
        sessions: pruned.sessions,
        more: pruned.more,
        events_since: pruned.oldest_day.as_deref(),
    });
    write_sessions(out, format, sessions.collect(), pruned)
}

/// Writes sessions with all their events.
pub(crate) fn write_histories(
    out: &mut dyn Write,
    format: OutputFormat,
    histories: &[History],
) -> io::Result<()> {
    let sessions = histories.iter().map(|history| {
        session_json(&history.session)
            .with(&history.events)
            .without(history.deleted)
    });
    write_sessions(out, format, sessions.collect(), None)
}

pub(crate) fn write_opened(
    out: &mut dyn Write,
    session: &Session,
    late: Option<Duration>,
) -> io::Result<()> {
    let opened = LiveJson::Opened {
        version: VERSION,
        late_by_ns: late.map(|late| late.as_nanos().to_string()),
        session: Box::new(session_json(session)),
    };
    write_as_line(out, &opened)
}

pub(crate) fn write_event(out: &mut dyn Write, session: &Session, event: &Event) -> io::Result<()> {
    let session_id = session.opened.id;
    let json = Box::new(EventJson::new(event));
    let line = if event.event.phase.is_users() {
        LiveJson::Event {
            session_id,
            event: json,
        }
    } else {
        LiveJson::LoginEvent {
            session_id,
            event: json,
        }
    };
    write_as_line(out, &line)
}

pub(crate) fn write_gap(
    out: &mut dyn Write,
    session: &Session,
    range: &MissingRange,
) -> io::Result<()> {
    write_as_line(
        out,
        &LiveJson::Gap {
            session_id: session.opened.id,
            gap: gap_json(session, range),
        },
    )
}

pub(crate) fn write_closed(out: &mut dyn Write, session: &Session) -> io::Result<()> {
    let session = Box::new(session_json(session));
    write_as_line(out, &LiveJson::Closed { session })
}

/// Writes sessions with events, in one of the formats that can nest.
fn write_sessions(
    out: &mut dyn Write,
    format: OutputFormat,
    sessions: Vec<SessionJson>,
    pruned: Option<PrunedJson>,
) -> io::Result<()> {
    let document = Document {
        version: VERSION,
        sessions,
        pruned,
    };
    match format {
        OutputFormat::Jsonl => document
            .sessions
            .iter()
            .try_for_each(|session| write_as_line(out, session)),
        OutputFormat::Yaml => write_yaml(out, &document),
        _ => write(out, &document),
    }
}

#[cfg(test)]
mod tests {
    use vctl_common::event::Phase;
    use vctl_common::id::CertSerial;
    use vctl_common::person::Person;
    use vctl_common::session::{Auth, GapCause, InferredLink, Origin};

    use super::*;
    use crate::fixture::{Login, assert_golden, rendered, session_id};
    use crate::session::model::grep::{GrepMatch, Pruned};
    use crate::session::model::provenance::{AccessRequest, AccessRequests, Ca, Provenance};
    use crate::ui::json::schema;
    use crate::ui::records;

    fn history() -> History {
        let mut login = Login::of_alice()
            .exec_with(4102, 4101, &["sh", "", "x"], |exec| {
                exec.argv[2] = b"\xff\x01".to_vec();
                exec.exe.inode = u64::MAX;
            })
            .exec_failed(4103, 4102, 2, &["nope"])
            .after_ms(3)
            .killed(4102, 4101, 11)
            .moved(
                4101,
                7002,
                Some(session_id("0193f3a1-7c4e-7d61-9f0a-000000000001")),
            )
            .lost(4, 9, GapCause::RingFull);
        let certificate = login.session().opened.auth.certificate.as_mut();
        let certificate = certificate.unwrap();
        certificate.serial = CertSerial::new(u64::MAX);
        certificate.valid_before = u64::MAX;
        login.closed()
    }

    #[test]
    fn document_is_as_documented() {
        let json = rendered(|out| write_histories(out, OutputFormat::Json, &[history()]));
        assert_golden("session.json", &json);
    }

    #[test]
    fn numbers_above_2_to_the_53_are_strings() {
        let json = rendered(|out| write_histories(out, OutputFormat::Json, &[history()]));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_numbers_are_exact(&value);
        assert_eq!(value["sessions"][0]["serial"], "18446744073709551615");
    }

    #[test]
    fn bytes_that_are_not_utf8_become_hex() {
        let json = rendered(|out| write_histories(out, OutputFormat::Json, &[history()]));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let argv = &value["sessions"][0]["events"][0]["argv"];
        assert_eq!(*argv, serde_json::json!(["sh", "", { "hex": "ff01" }]));
    }

    #[test]
    fn every_format_fits_the_schema() {
        let mut detached = Login::of_alice();
        let opened = &mut detached.session().opened;
        opened.auth = Auth::default();
        (opened.audit_session, opened.cgroup, opened.login_uid) = (None, None, None);
        (opened.source_ip, opened.source_port, opened.marked_at) = (None, None, None);
        opened.remote_host = Some("pump".to_owned());
        opened.origin = Origin::Detached {
            from: Some(InferredLink {
                session: session_id("0193f3a1-7c4e-7d61-9f0a-000000000001"),
                serial: None,
                because: "same login uid 1000".to_owned(),
            }),
        };
        let mut central = Login::of_alice()
            .in_phase(Phase::LoginSetup)
            .exec(4101, 4100, &["run-parts"])
            .in_phase(Phase::User)
            .exec(4102, 4101, &["ls"]);
        central.session().provenance = Some(provenance());
        let histories = [history(), detached.open(), central.closed()];
        let listed = histories.iter().map(|history| ListedSession {
            session: history.session.clone(),
            commands: 3,
        });
        let listed: Vec<ListedSession> = listed.collect();
        let found = GrepMatch {
            session: histories[2].session.clone(),
            events: histories[0].events.clone(),
            more: true,
        };
        let found = SearchResult {
            matches: vec![found],
            pruned: Some(Pruned {
                sessions: 2,
                more: false,
                oldest_day: Some("2026-11-16".to_owned()),
            }),
        };
        for document in [
            rendered(|out| write_matches(out, OutputFormat::Json, &found)),
            rendered(|out| write_histories(out, OutputFormat::Json, &histories)),
            rendered(|out| records::write(out, OutputFormat::Json, &Sessions, &listed)),
        ] {
            schema::assert_fits(
                schema::OF_SESSIONS,
                None,
                &serde_json::from_str(&document).unwrap(),
            );
        }
        let lines = rendered(|out| records::write(out, OutputFormat::Jsonl, &Sessions, &listed));
        for line in lines.lines() {
            let session = serde_json::from_str(line).unwrap();
            schema::assert_fits(schema::OF_SESSIONS, Some("session"), &session);
        }
        assert_eq!(lines.lines().count(), listed.len());
        let csv = rendered(|out| records::write(out, OutputFormat::Csv, &Sessions, &listed));
        assert_golden("sessions.csv", &csv);
    }

    fn provenance() -> Provenance {
        let request = |person: &str| AccessRequest {
            person: Person::new(person),
            at: std::time::UNIX_EPOCH,
            host: "web-1".to_owned(),
            is_hop: false,
            source_ip: "192.0.2.7".parse().ok(),
            source_port: Some(51514),
            client_user: Some("al".to_owned()),
            client_host: None,
        };
        Provenance {
            person: Some(Person::new("oidc-albert")),
            ca: Some(Ca::Ours {
                mount: "ssh".to_owned(),
            }),
            requests: Some(AccessRequests {
                rows: vec![request("oidc-albert"), request("oidc-mallory")],
                more: true,
            }),
            unheard: false,
        }
    }

    #[test]
    fn live_json_has_one_object_per_line() {
        let history = history();
        let session = &history.session;
        let login = Login::of_alice().in_phase(Phase::Logout);
        let login = login.exec(4109, 4100, &["logger"]).open();
        let lines = rendered(|out| {
            write_opened(out, session, Some(Duration::from_mins(3)))?;
            for event in &history.events {
                write_event(out, session, event)?;
            }
            for event in &login.events {
                write_event(out, session, event)?;
            }
            write_gap(out, session, &session.missing_ranges[0])?;
            write_closed(out, session)
        });
        let types: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .inspect(|line| schema::assert_fits(schema::OF_SESSIONS, Some("live_line"), line))
            .map(|line| line["type"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            types,
            [
                "opened",
                "event",
                "event",
                "event",
                "event",
                "login_event",
                "gap",
                "closed"
            ]
        );
    }

    fn assert_numbers_are_exact(value: &serde_json::Value) {
        match value {
            serde_json::Value::Array(all) => all.iter().for_each(assert_numbers_are_exact),
            serde_json::Value::Object(all) => all.values().for_each(assert_numbers_are_exact),
            serde_json::Value::Number(n) => assert!(n.as_u64().unwrap() < 1 << 53, "{n}"),
            _ => {}
        }
    }
}
