//! A session as JSON, with or without its events.

use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use vctl_common::id::{AuditSessionId, BootId, CertSerial, SessionId};
use vctl_common::session::{
    Certificate, CloseReason, GapCause, Origin, SessionClosed, SessionOpened, Stamp,
};

use super::event::{EventJson, ProcessJson};
use super::provenance::ProvenanceJson;
use crate::session::model::identity::{Contradiction, Proof};
use crate::session::model::running::RunningSession;
use crate::session::model::{Event, Identity, MissingRange, Session};
use crate::ui::time;

#[derive(Serialize)]
pub(crate) struct SessionJson<'a> {
    session_id: SessionId,
    host: &'a str,
    boot_id: BootId,
    /// As in `certificate`; repeated here because readers search for it.
    serial: Option<CertSerial>,
    login_user: &'a str,
    service: &'a str,
    source_ip: Option<String>,
    source_port: Option<u16>,
    remote_host: Option<&'a str>,
    tty: Option<&'a str>,
    auth_method: Option<&'a str>,
    auth_problem: Option<&'a str>,
    unreadable_certificate: bool,
    key_fingerprint: Option<&'a str>,
    certificate: Option<CertificateJson<'a>>,
    /// Whether the name is proven: the certificate is verified, and nothing contradicts it.
    verified: bool,
    verification: &'static str,
    verified_by: Option<VerifiedByJson<'a>>,
    contradictions: Vec<&'static str>,
    remarks: Vec<&'static str>,
    /// Left out when the session was read from a spool: only the central store knows it.
    #[serde(flatten)]
    provenance: Option<ProvenanceJson<'a>>,
    origin: &'a Origin,
    stamp: Stamp,
    leader: ProcessJson,
    login_uid: Option<u32>,
    audit_session: Option<AuditSessionId>,
    cgroup: Option<String>,
    opened_at: String,
    opened_boot_ns: String,
    marked_boot_ns: Option<String>,
    closed_at: Option<String>,
    closed_boot_ns: Option<String>,
    close_reason: Option<CloseReason>,
    leader_ended_boot_ns: Option<String>,
    end_requested: Option<RequestedEndJson<'a>>,
    duration_ns: Option<String>,
    open: bool,
    /// Open, and its host did not report in that boot for a day.
    end_unknown: bool,
    complete: bool,
    events_stored: u64,
    events_produced: Option<u64>,
    events_missing: MissingJson,
    gaps: Vec<GapJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commands: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Vec<EventJson<'a>>>,
    /// Events of sshd and PAM at login and logout.
    #[serde(skip_serializing_if = "Option::is_none")]
    login_events: Option<Vec<EventJson<'a>>>,
    /// Events that were stored and then deleted after their retention period.
    #[serde(skip_serializing_if = "Option::is_none")]
    events_deleted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_matches: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<LiveFacts<'a>>,
}

/// The request that ended a session.
#[derive(Serialize)]
struct RequestedEndJson<'a> {
    by: &'a str,
    reason: Option<&'a str>,
    boot_ns: String,
}

#[derive(Serialize)]
struct CertificateJson<'a> {
    serial: Option<CertSerial>,
    key_id: &'a str,
    ca_fingerprint: &'a str,
    principals: &'a [String],
    valid_after: Option<String>,
    /// `None`: does not expire.
    valid_before: Option<String>,
}

#[derive(Serialize)]
struct VerifiedByJson<'a> {
    ca: &'a str,
    /// Mount of the CA in Vault; `None` when the session was read from a spool.
    mount: Option<&'a str>,
}

#[derive(Serialize)]
struct MissingJson {
    counted: u64,
    uncounted: bool,
}

#[derive(Serialize)]
pub(crate) struct GapJson {
    events: Option<u64>,
    cause: Option<GapCause>,
    from: String,
    from_boot_ns: String,
    to: String,
    to_boot_ns: String,
}

/// The facts that only `--live` has.
#[derive(Serialize)]
pub(crate) struct LiveFacts<'a> {
    last_command: Option<EventJson<'a>>,
    /// Age of the last sign of the host in the session's boot.
    host_seen_age_s: Option<u64>,
    /// The host gave no sign for ten minutes: it is unknown whether the session still runs.
    host_silent: bool,
}

impl<'a> LiveFacts<'a> {
    pub(crate) fn new(running: &'a RunningSession) -> Self {
        Self {
            last_command: running.last_command.as_ref().map(EventJson::new),
            host_seen_age_s: running.host_seen.map(|seen| seen.as_secs()),
            host_silent: running.is_silent(),
        }
    }
}

impl<'a> SessionJson<'a> {
    /// Adds the number of commands, for a list without events.
    pub(crate) fn listed(mut self, commands: u64) -> Self {
        self.commands = Some(commands);
        self
    }

    pub(crate) fn with(mut self, events: &'a [Event]) -> Self {
        let (of_user, of_login): (Vec<&Event>, Vec<&Event>) = events
            .iter()
            .partition(|event| event.event.phase.is_users());
        self.events = Some(of_user.into_iter().map(EventJson::new).collect());
        self.login_events = Some(of_login.into_iter().map(EventJson::new).collect());
        self
    }

    /// Adds the number of events that were deleted after their retention period.
    pub(crate) fn without(mut self, deleted: u64) -> Self {
        self.events_deleted = Some(deleted);
        self
    }

    /// Adds the facts of a running session.
    pub(crate) fn running(mut self, facts: LiveFacts<'a>) -> Self {
        self.live = Some(facts);
        self
    }

    /// Marks the events as search results: only the matching ones.
    pub(crate) fn found(mut self, more: bool) -> Self {
        self.more_matches = Some(more);
        self
    }
}

pub(crate) fn session_json(session: &Session) -> SessionJson<'_> {
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
    let missing = session.missing();
    let identity = &session.identity;
    SessionJson {
        session_id: *id,
        host: &session.host,
        boot_id: session.boot_id,
        serial: session.serial(),
        login_user,
        service,
        source_ip: source_ip.map(|ip| ip.to_string()),
        source_port: *source_port,
        remote_host: remote_host.as_deref(),
        tty: tty.as_deref(),
        auth_method: auth.method.as_deref(),
        auth_problem: auth.problem.as_deref(),
        unreadable_certificate: auth.unreadable_certificate,
        key_fingerprint: auth.key_fingerprint.as_deref(),
        certificate: auth.certificate.as_ref().map(certificate_json),
        verified: identity.is_proven(),
        verification: identity.proof.word(),
        verified_by: verified_by(identity, auth.certificate.as_ref()),
        contradictions: identity.contradicting().map(Contradiction::word).collect(),
        remarks: identity.remarks().map(Contradiction::word).collect(),
        provenance: session.provenance.as_ref().map(ProvenanceJson::new),
        origin,
        stamp: *stamp,
        leader: ProcessJson::new(*leader),
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
        end_requested: closed
            .and_then(|closed| closed.requested.as_ref())
            .map(|requested| RequestedEndJson {
                by: &requested.by,
                reason: requested.reason.as_deref(),
                boot_ns: requested.at.0.to_string(),
            }),
        duration_ns: session.duration().map(|d| d.as_nanos().to_string()),
        open: closed.is_none(),
        end_unknown: session.is_unheard(),
        complete: closed.is_some() && missing.is_none(),
        events_stored: session.stored,
        events_produced: closed.and_then(|closed| closed.produced),
        events_missing: MissingJson {
            counted: missing.map_or(0, |missing| missing.counted),
            uncounted: missing.is_some_and(|missing| missing.uncounted),
        },
        gaps: session
            .missing_ranges
            .iter()
            .map(|range| gap_json(session, range))
            .collect(),
        commands: None,
        events: None,
        login_events: None,
        events_deleted: None,
        more_matches: None,
        live: None,
    }
}

pub(crate) fn gap_json(session: &Session, range: &MissingRange) -> GapJson {
    GapJson {
        events: range.events,
        cause: range.cause,
        from: time::nanos(session.wall.wall_time(range.from)),
        from_boot_ns: range.from.0.to_string(),
        to: time::nanos(session.wall.wall_time(range.to)),
        to_boot_ns: range.to.0.to_string(),
    }
}

fn verified_by<'a>(
    identity: &'a Identity,
    certificate: Option<&'a Certificate>,
) -> Option<VerifiedByJson<'a>> {
    match (&identity.proof, certificate) {
        (Proof::Verified { mount }, Some(certificate)) => Some(VerifiedByJson {
            ca: &certificate.ca_fingerprint,
            mount: mount.as_deref(),
        }),
        _ => None,
    }
}

fn certificate_json(certificate: &Certificate) -> CertificateJson<'_> {
    // OpenSSH writes "always" as 0 and "forever" as all ones.
    let at = |seconds: u64| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    let limit = |seconds: u64| at(seconds).filter(|_| seconds != 0 && seconds != u64::MAX);
    CertificateJson {
        serial: certificate.serial,
        key_id: &certificate.key_id,
        ca_fingerprint: &certificate.ca_fingerprint,
        principals: &certificate.principals,
        valid_after: limit(certificate.valid_after).map(time::seconds),
        valid_before: limit(certificate.valid_before).map(time::seconds),
    }
}
