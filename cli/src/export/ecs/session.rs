//! Records of one session: its opening, its events, its gaps and its end.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use vctl_common::hex;
use vctl_common::person::Person;
use vctl_common::session::{Gap, Origin};
use vctl_common::time::wall_now;

use super::{Kind, Record, Severity, merge, process};
use crate::export::gap::GapRow;
use crate::session::centre::Unreadable;
use crate::session::model::identity::Contradiction;
use crate::session::model::{Event, Session};
use crate::ui::time;

const DATASET: &str = "vctl.session";
/// Action of records about missing events.
const MISSING: &str = "events-missing";

/// Builds the records of one session.
pub(crate) struct SessionRecords<'a> {
    session: &'a Session,
    /// Fields that each record of the session has.
    common: Value,
}

impl<'a> SessionRecords<'a> {
    pub(crate) fn new(session: &'a Session) -> Self {
        Self {
            session,
            common: common(session),
        }
    }

    pub(crate) fn opened(&self) -> Record {
        let opened = &self.session.opened;
        let contradictions = self.session.identity.contradicting();
        let contradictions: Vec<&str> = contradictions.map(Contradiction::word).collect();
        let from = match &opened.origin {
            Origin::Detached { from: Some(from) } => Some(from.session.to_string()),
            _ => None,
        };
        let fields = json!({ "vctl": { "session": {
            "service": opened.service,
            "auth_method": opened.auth.method,
            "key_fingerprint": opened.auth.key_fingerprint,
            "origin": match opened.origin {
                Origin::Login => "login",
                Origin::Detached { .. } => "detached",
            },
            "from": from,
            "stamp": opened.stamp,
            "verification": self.session.identity.proof.word(),
            "contradictions": contradictions,
        } } });
        let kind = self.kind("opened", "session-opened", "session", "start");
        self.record(kind, self.session.opened_at(), fields)
    }

    pub(crate) fn event(&self, seq: u64, event: &Event) -> Record {
        let parts = process::parts(event, self.session.boot_id);
        let kind = Kind {
            outcome: parts.outcome,
            ..self.kind(&seq.to_string(), parts.action, "process", parts.phase)
        };
        self.record(kind, event.time, parts.fields)
    }

    pub(crate) fn contradicted(&self, contradiction: Contradiction) -> Record {
        let word = contradiction.word();
        let fields = json!({ "vctl": { "session": { "contradiction": word } } });
        let kind = Kind {
            severity: Severity::Alert,
            ..self.kind(
                &format!("contradiction-{word}"),
                "session-contradicted",
                "session",
                "info",
            )
        };
        self.record(kind, self.session.opened_at(), fields)
    }

    /// Returns the record of a gap in this session.
    pub(crate) fn gap(&self, gap: &GapRow) -> Record {
        let time = gap.from.unwrap_or_else(|| self.session.opened_at());
        self.record(gap_kind(gap), time, gap_fields(gap))
    }

    /// Returns the record of the end; `name` keeps it apart from another end of the session.
    pub(crate) fn closed(&self, name: &str) -> Record {
        let session = self.session;
        let missing = session.missing();
        let nanos = session.duration().unwrap_or_default().as_nanos();
        let fields = json!({
            "event": { "duration": u64::try_from(nanos).unwrap_or(u64::MAX) },
            "vctl": { "session": {
                "close_reason": session.closed.as_ref().map(|closed| closed.reason),
                "complete": missing.is_none(),
                "events_stored": session.stored,
                "events_missing": missing.map(|missing| missing.counted).filter(|count| *count > 0),
                "events_missing_uncounted": missing.is_some_and(|missing| missing.uncounted),
            } },
        });
        let kind = self.kind(name, "session-closed", "session", "end");
        let closed_at = session.closed_at().unwrap_or_else(|| session.opened_at());
        self.record(kind, closed_at, fields)
    }

    /// Returns the record of an event that cannot be decoded.
    pub(crate) fn undecodable(&self, seq: u64, gap: &Gap) -> Record {
        let wall = self.session.wall;
        let (from, to) = (wall.wall_time(gap.from), wall.wall_time(gap.to));
        let fields = json!({
            "event": { "sequence": seq, "start": time::nanos(from), "end": time::nanos(to) },
            "vctl": { "gap": { "cause": gap.cause, "events": gap.events } },
        });
        let kind = Kind {
            severity: Severity::Incomplete,
            ..self.kind(&seq.to_string(), MISSING, "process", "info")
        };
        self.record(kind, from, fields)
    }

    fn kind(
        &self,
        name: &str,
        action: &'static str,
        category: &'static str,
        phase: &'static str,
    ) -> Kind {
        Kind {
            id: format!("{}-{name}", self.session.opened.id),
            action,
            category,
            phase,
            outcome: None,
            dataset: DATASET,
            severity: Severity::Event,
        }
    }

    fn record(&self, kind: Kind, at: std::time::SystemTime, fields: Value) -> Record {
        let mut all = self.common.clone();
        merge(&mut all, fields);
        Record::new(kind, at, all)
    }
}

/// Returns the record of a gap that cannot be attributed to a session.
pub(crate) fn host_gap(gap: &GapRow) -> Record {
    let mut fields = json!({
        "host": { "name": gap.host, "hostname": gap.host, "boot": { "id": gap.boot.to_string() } },
        "related": { "hosts": [gap.host] },
        "vctl": { "session": { "id": gap.session.map(|id| id.to_string()) } },
    });
    merge(&mut fields, gap_fields(gap));
    Record::new(gap_kind(gap), gap.from.unwrap_or_else(wall_now), fields)
}

/// Returns the record of a session whose row cannot be read, at the time of its opening.
pub(crate) fn unreadable_record(id: Uuid, unreadable: &Unreadable) -> Record {
    let Unreadable {
        host,
        boot_id,
        opened_at,
        ..
    } = unreadable;
    let kind = Kind {
        id: format!("{id}-unreadable"),
        action: "session-unreadable",
        category: "session",
        phase: "info",
        outcome: None,
        dataset: DATASET,
        severity: Severity::Incomplete,
    };
    let fields = json!({
        "error": { "message": unreadable.to_string() },
        "host": { "name": host, "hostname": host, "boot": { "id": boot_id.to_string() } },
        "related": { "hosts": [host] },
        "vctl": { "session": { "id": id.to_string() } },
    });
    Record::new(kind, opened_at.unwrap_or_else(wall_now), fields)
}

fn gap_kind(gap: &GapRow) -> Kind {
    // Two hosts may report the same boot id. The number of the host, because its name may change.
    let content = format!("{} {} {}", gap.host_id, gap.boot, gap.sha256);
    Kind {
        id: format!("gap-{}", hex::encode(&Sha256::digest(content)[..16])),
        action: MISSING,
        category: "process",
        phase: "info",
        outcome: None,
        dataset: DATASET,
        severity: Severity::Incomplete,
    }
}

fn gap_fields(gap: &GapRow) -> Value {
    json!({
        "event": { "start": gap.from.map(time::nanos), "end": gap.to.map(time::nanos) },
        "vctl": { "gap": { "cause": gap.cause, "events": gap.events } },
    })
}

fn common(session: &Session) -> Value {
    let opened = &session.opened;
    let certificate = opened.auth.certificate.as_ref();
    let person = session.person();
    let serial = session.serial().map(|serial| serial.to_string());
    let mut users = vec![opened.login_user.clone()];
    users.extend(person.map(|person| person.name().to_owned()));
    users.retain(|user| !user.is_empty());
    users.dedup();
    let ip = opened.source_ip.map(|ip| ip.to_string());
    json!({
        "host": {
            "name": session.host,
            "hostname": session.host,
            "boot": { "id": session.boot_id.to_string() },
        },
        "user": {
            "name": opened.login_user,
            "id": opened.login_uid.map(|uid| uid.to_string()),
        },
        "source": { "ip": ip, "port": opened.source_port },
        "related": { "user": users, "hosts": [session.host], "ip": ip.iter().collect::<Vec<_>>() },
        "process": { "session_leader": {
            "pid": opened.leader.tgid,
            "entity_id": process::entity_id(session.boot_id, opened.leader),
        } },
        "vctl": {
            "session": { "id": opened.id.to_string() },
            "person": {
                "name": person.map(Person::name),
                "display_name": person.map(Person::display_name),
                "verified": session.identity.is_proven(),
            },
            "certificate": {
                "serial": serial,
                "key_id": certificate.map(|certificate| &certificate.key_id),
                "ca_fingerprint": certificate.map(|certificate| &certificate.ca_fingerprint),
            },
        },
    })
}
