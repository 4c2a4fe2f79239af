//! Sessions as JSON, for programs. `docs/session-json.md` is its contract.
//!
//! Numbers of 64 bits that are ids or clock readings are strings: a JSON reader that keeps numbers
//! as doubles would round them. Bytes that are no UTF-8 become `{"hex": "..."}`.

mod escape;
mod event;

use std::io::{self, Write};

use serde::Serialize;
use vctl_common::id::{BootId, CertSerial, SessionId};
use vctl_common::session::{Auth, GapCause, Origin, SessionClosed, SessionOpened};

use self::event::EventJson;
use super::time;
use crate::view::{Event, History, Hole, Session};

/// Changes when a field changes its meaning or goes away; new fields may come at any time.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    sessions: Vec<SessionJson<'a>>,
}

#[derive(Serialize)]
struct SessionJson<'a> {
    session_id: SessionId,
    host: &'a str,
    boot_id: BootId,
    serial: Option<CertSerial>,
    key_id: Option<&'a str>,
    ca_fingerprint: Option<&'a str>,
    login_user: &'a str,
    service: &'a str,
    source_ip: Option<String>,
    source_port: Option<u16>,
    remote_host: Option<&'a str>,
    tty: Option<&'a str>,
    auth: &'a Auth,
    origin: &'a Origin,
    stamp: vctl_common::session::Stamp,
    leader: event::ProcessJson,
    login_uid: Option<u32>,
    audit_session: Option<vctl_common::id::AuditSessionId>,
    cgroup: Option<String>,
    opened_at: String,
    opened_boot_ns: String,
    marked_boot_ns: Option<String>,
    closed_at: Option<String>,
    closed_boot_ns: Option<String>,
    close_reason: Option<vctl_common::session::CloseReason>,
    leader_ended_boot_ns: Option<String>,
    duration_ns: Option<String>,
    open: bool,
    complete: bool,
    events_stored: u64,
    events_produced: Option<u64>,
    events_missing: MissingJson,
    gaps: Vec<GapJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commands: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<EventJson<'a>>>,
}

#[derive(Serialize)]
struct MissingJson {
    counted: u64,
    uncounted: bool,
}

#[derive(Serialize)]
struct GapJson {
    events: Option<u64>,
    cause: Option<GapCause>,
    from: String,
    from_boot_ns: String,
    to: String,
    to_boot_ns: String,
}

/// One line of `--follow --json`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum LiveJson<'a> {
    Opened {
        version: u32,
        session: Box<SessionJson<'a>>,
    },
    Event {
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

/// Writes sessions without their events.
pub(crate) fn write_list<'a>(
    out: &mut dyn Write,
    sessions: impl Iterator<Item = (&'a Session, u64)>,
) -> io::Result<()> {
    let sessions = sessions.map(|(session, commands)| SessionJson {
        commands: Some(commands),
        ..session_json(session)
    });
    write_document(out, sessions.collect())
}

/// Writes sessions with everything that happened in them.
pub(crate) fn write_histories(out: &mut dyn Write, histories: &[History]) -> io::Result<()> {
    let sessions = histories.iter().map(|history| SessionJson {
        events: Some(history.events.iter().map(EventJson::new).collect()),
        ..session_json(&history.session)
    });
    write_document(out, sessions.collect())
}

pub(crate) fn write_opened(out: &mut dyn Write, session: &Session) -> io::Result<()> {
    let session = Box::new(session_json(session));
    let version = VERSION;
    write_line(out, &LiveJson::Opened { version, session })
}

pub(crate) fn write_event(out: &mut dyn Write, session: &Session, event: &Event) -> io::Result<()> {
    write_line(
        out,
        &LiveJson::Event {
            session_id: session.opened.id,
            event: Box::new(EventJson::new(event)),
        },
    )
}

pub(crate) fn write_gap(out: &mut dyn Write, session: &Session, hole: &Hole) -> io::Result<()> {
    write_line(
        out,
        &LiveJson::Gap {
            session_id: session.opened.id,
            gap: gap_json(session, hole),
        },
    )
}

pub(crate) fn write_closed(out: &mut dyn Write, session: &Session) -> io::Result<()> {
    let session = Box::new(session_json(session));
    write_line(out, &LiveJson::Closed { session })
}

fn write_document(out: &mut dyn Write, sessions: Vec<SessionJson>) -> io::Result<()> {
    let version = VERSION;
    let document = Document { version, sessions };
    document.serialize(&mut escape::pretty(&mut *out))?;
    writeln!(out)
}

fn write_line(out: &mut dyn Write, line: &LiveJson) -> io::Result<()> {
    line.serialize(&mut escape::compact(&mut *out))?;
    writeln!(out)
}

fn session_json(session: &Session) -> SessionJson<'_> {
    let SessionOpened {
        id,
        origin,
        login_user,
        service,
        auth,
        source_ip,
        source_port,
        remote_host,
        tty,
        leader,
        login_uid,
        audit_session,
        cgroup,
        opened_at,
        marked_at,
        stamp,
    } = &session.opened;
    let closed: Option<&SessionClosed> = session.closed.as_ref();
    let certificate = auth.certificate.as_ref();
    let missing = session.missing();
    SessionJson {
        session_id: *id,
        host: &session.host,
        boot_id: session.boot_id,
        serial: session.serial(),
        key_id: certificate.map(|certificate| &*certificate.key_id),
        ca_fingerprint: certificate.map(|certificate| &*certificate.ca_fingerprint),
        login_user,
        service,
        source_ip: source_ip.map(|ip| ip.to_string()),
        source_port: *source_port,
        remote_host: remote_host.as_deref(),
        tty: tty.as_deref(),
        auth,
        origin,
        stamp: *stamp,
        leader: event::ProcessJson::new(*leader),
        login_uid: *login_uid,
        audit_session: *audit_session,
        cgroup: cgroup.map(|cgroup| cgroup.0.to_string()),
        opened_at: time::nanos(session.opened_at()),
        opened_boot_ns: opened_at.0.to_string(),
        marked_boot_ns: marked_at.map(|at| at.0.to_string()),
        closed_at: session.closed_at().map(time::nanos),
        closed_boot_ns: closed.map(|closed| closed.at.0.to_string()),
        close_reason: closed.map(|closed| closed.reason),
        leader_ended_boot_ns: closed
            .and_then(|closed| closed.leader_ended_at)
            .map(|at| at.0.to_string()),
        duration_ns: session.duration().map(|d| d.as_nanos().to_string()),
        open: closed.is_none(),
        complete: closed.is_some() && missing.is_none(),
        events_stored: session.stored,
        events_produced: closed.and_then(|closed| closed.produced),
        events_missing: MissingJson {
            counted: missing.map_or(0, |missing| missing.counted),
            uncounted: missing.is_some_and(|missing| missing.uncounted),
        },
        gaps: session
            .holes
            .iter()
            .map(|hole| gap_json(session, hole))
            .collect(),
        commands: None,
        events: None,
    }
}

fn gap_json(session: &Session, hole: &Hole) -> GapJson {
    GapJson {
        events: hole.events,
        cause: hole.cause,
        from: time::nanos(session.wall.wall_time(hole.from)),
        from_boot_ns: hole.from.0.to_string(),
        to: time::nanos(session.wall.wall_time(hole.to)),
        to_boot_ns: hole.to.0.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use vctl_common::id::CertSerial;

    use super::*;
    use crate::fixture::{Login, assert_golden, rendered, session_id};

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
        certificate.unwrap().serial = CertSerial::new(u64::MAX);
        login.closed()
    }

    #[test]
    fn the_document_is_the_one_that_is_documented() {
        let json = rendered(|out| write_histories(out, &[history()]));
        assert_golden("session.json", &json);
    }

    #[test]
    fn nothing_above_2_to_the_53_is_a_json_number() {
        let json = rendered(|out| write_histories(out, &[history()]));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        fn walk(value: &serde_json::Value) {
            match value {
                serde_json::Value::Array(all) => all.iter().for_each(walk),
                serde_json::Value::Object(all) => all.values().for_each(walk),
                serde_json::Value::Number(n) => assert!(n.as_u64().unwrap() < 1 << 53, "{n}"),
                _ => {}
            }
        }
        walk(&value);
        assert_eq!(value["sessions"][0]["serial"], "18446744073709551615");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_kept_as_hex() {
        let json = rendered(|out| write_histories(out, &[history()]));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let argv = &value["sessions"][0]["events"][0]["argv"];
        assert_eq!(*argv, serde_json::json!(["sh", "", { "hex": "ff01" }]));
    }

    #[test]
    fn live_json_is_one_object_a_line() {
        let history = history();
        let session = &history.session;
        let lines = rendered(|out| {
            write_opened(out, session)?;
            for event in &history.events {
                write_event(out, session, event)?;
            }
            write_gap(out, session, &session.holes[0])?;
            write_closed(out, session)
        });
        let types: Vec<String> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|line| line["type"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            types,
            [
                "opened", "event", "event", "event", "event", "gap", "closed"
            ]
        );
    }
}
