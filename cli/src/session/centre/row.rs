//! A row of `sessions.sql` as a session.

use std::error::Error;
use std::fmt;
use std::fmt::{Display, Formatter};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use postgres_types::Json;
use serde::Deserialize;
use uuid::Uuid;
use vctl_common::id::{BootId, SessionId};
use vctl_common::person::Person;
use vctl_common::pg::tokio_postgres::Row;
use vctl_common::session::{Gap, JournalEntry, SessionClosed, SessionOpened};
use vctl_common::spool::{self, Completeness, Kept, SessionRecord};
use vctl_common::time::{BootNs, WallOffset};

use crate::centre::instant::Instant;
use crate::session::model::ListedSession;
use crate::session::model::identity::{CaTrust, Contradiction, Identity};
use crate::session::model::provenance::{AccessRequest, AccessRequests, Ca, Provenance};
use crate::session::model::{MissingRange, Session};

/// Maximum number of requests read per certificate; `sessions.sql` returns one more if there are more.
const MOST_REQUESTS: usize = 10;

/// A session of the store, without its events.
#[derive(Clone, Debug)]
pub(crate) struct StoredSession {
    pub(super) record: SessionRecord,
    /// Programs started in it.
    execs: u64,
    pub(super) days: Option<Days>,
    provenance: Provenance,
    identity: Identity,
}

/// First and last day with events, as Postgres writes them.
#[derive(Clone, Debug)]
pub(super) struct Days {
    pub(super) first: String,
    pub(super) last: String,
}

/// A row that cannot be shown as a session.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Name of the host, as its enrolment names it.
    pub(crate) host: String,
    pub(crate) boot_id: BootId,
    /// Time of the opening; `None` if it is out of range.
    pub(crate) opened_at: Option<SystemTime>,
    pub(crate) reason: UnreadableReason,
}

/// Reason why a row cannot be shown as a session. The row's content comes from its host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreadableReason {
    #[error("{what} of session {id} has a format that this version of vctl does not know")]
    Entry {
        id: SessionId,
        what: &'static str,
        #[source]
        source: Option<serde_json::Error>,
    },
    #[error("the opening entry of session {id} contradicts the columns of its row")]
    Contradiction { id: SessionId },
    #[error("session {id} has events with sequence numbers below 1")]
    Numbers { id: SessionId },
}

impl Unreadable {
    pub(crate) fn session(&self) -> SessionId {
        match self.reason {
            UnreadableReason::Entry { id, .. }
            | UnreadableReason::Contradiction { id }
            | UnreadableReason::Numbers { id } => id,
        }
    }
}

impl Display for Unreadable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl Error for Unreadable {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.reason.source()
    }
}

impl StoredSession {
    pub(crate) fn opened(&self) -> &SessionOpened {
        &self.record.opened
    }

    /// Returns the session, with completeness judged from its counters.
    pub(crate) fn session(&self) -> Session {
        self.with(
            missing_ranges(spool::counted(&self.record)),
            self.record.stored,
        )
    }

    pub(crate) fn listed(&self) -> ListedSession {
        ListedSession {
            session: self.session(),
            commands: self.execs,
        }
    }

    pub(super) fn with(&self, missing_ranges: Vec<MissingRange>, stored: u64) -> Session {
        Session {
            opened: self.record.opened.clone(),
            closed: self.record.closed.clone(),
            host: self.record.host.clone(),
            boot_id: self.record.boot_id,
            wall: self.record.wall,
            closed_wall: self.record.closed_wall,
            stored,
            missing_ranges,
            identity: self.identity.clone(),
            provenance: Some(self.provenance.clone()),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.record.opened.id
    }
}

pub(super) fn missing_ranges(completeness: Completeness) -> Vec<MissingRange> {
    match completeness {
        Completeness::Complete | Completeness::StillOpen => Vec::new(),
        Completeness::Missing(ranges) => ranges.into_iter().map(MissingRange::from).collect(),
    }
}

/// Reads a row. The entries come from the host and may hold anything: an error concerns this row only.
pub(super) fn stored_session(row: &Row) -> Result<StoredSession, Unreadable> {
    read(row).map_err(|reason| Unreadable {
        host: row.get(1),
        boot_id: BootId::from_uuid(row.get(2)),
        opened_at: row.get::<_, Instant>(21).0,
        reason,
    })
}

fn read(row: &Row) -> Result<StoredSession, UnreadableReason> {
    let id = SessionId::from_uuid(row.get::<_, Uuid>(0));
    let opened = match entry(id, "the opening", row.get(3))? {
        JournalEntry::Opened(opened) => *opened,
        _ => return Err(unknown(id, "the opening")),
    };
    if opened.id != id || !matches_columns(&opened, row) {
        return Err(UnreadableReason::Contradiction { id });
    }
    if row.get::<_, i64>(12) > 0 && row.get::<_, i64>(14) < 1 {
        return Err(UnreadableReason::Numbers { id });
    }
    let closed: Option<&str> = row.get(5);
    let closed = closed.map(|closed| closed_entry(id, closed)).transpose()?;
    let wall = WallOffset::from_ns(row.get::<_, Option<i64>>(4).unwrap_or_default());
    let last_at: Option<Instant> = row.get(15);
    let last_at = last_at.and_then(|at| at.0);
    let days = (row.get(16), row.get(17));
    let execs: i64 = row.get(13);
    let provenance = provenance(&opened, row);
    Ok(StoredSession {
        identity: identity(&opened, wall, provenance.ca.as_ref(), row.get(23)),
        provenance,
        record: SessionRecord::from(Kept {
            opened,
            wall,
            closed,
            closed_wall: row.get::<_, Option<i64>>(6).map(WallOffset::from_ns),
            boot_id: BootId::from_uuid(row.get(2)),
            host: row.get(1),
            gaps: gaps(id, row.get(18))?,
            host_wide: gaps(id, row.get(19))?,
            stored: unsigned(row.get(12)),
            last_at: last_at.map(|at| boot_time(wall, at)),
            last_seq: unsigned(row.get(14)),
        }),
        execs: unsigned(execs),
        days: match days {
            (Some(first), Some(last)) => Some(Days { first, last }),
            _ => None,
        },
    })
}

fn entry(id: SessionId, what: &'static str, json: &str) -> Result<JournalEntry, UnreadableReason> {
    serde_json::from_str(json).map_err(|error| UnreadableReason::Entry {
        id,
        what,
        source: Some(error),
    })
}

fn unknown(id: SessionId, what: &'static str) -> UnreadableReason {
    let source = None;
    UnreadableReason::Entry { id, what, source }
}

fn closed_entry(id: SessionId, json: &str) -> Result<SessionClosed, UnreadableReason> {
    match entry(id, "the end", json)? {
        JournalEntry::Closed(closed) => Ok(closed),
        _ => Err(unknown(id, "the end")),
    }
}

fn gaps(id: SessionId, json: Option<Vec<String>>) -> Result<Vec<Gap>, UnreadableReason> {
    let gap = |json: String| match entry(id, "a gap", &json)? {
        JournalEntry::Gap(gap) => Ok(gap),
        _ => Err(unknown(id, "a gap")),
    };
    json.unwrap_or_default().into_iter().map(gap).collect()
}

/// Maximum lengths of the text columns; `0013_ingest_limits` cuts longer texts.
const MOST_KEY_ID: usize = 512;
const MOST_LOGIN: usize = 255;
/// Tolerance for rounding; an agent takes both times from the same clocks.
const SAME_TIME: Duration = Duration::from_secs(1);

/// Returns whether the columns and the entry describe the same login. Sessions are found and ordered by the columns,
/// but shown from the entry: both must have the same certificate, login and time.
fn matches_columns(opened: &SessionOpened, row: &Row) -> bool {
    let certificate = opened.auth.certificate.as_ref();
    let text = |column| row.get::<_, Option<&str>>(column);
    // Postgres stores no NUL in texts.
    let kept = |text: &String| text.replace('\0', "\u{fffd}");
    let serial = certificate.and_then(|c| c.serial).map(|s| s.to_string());
    let key_id = certificate.map(|c| kept(&c.key_id));
    text(7) == certificate.map(|c| kept(&c.ca_fingerprint)).as_deref()
        && text(8) == serial.as_deref()
        && is_column_value(text(9), key_id.as_deref(), MOST_KEY_ID)
        && is_column_value(text(22), Some(&kept(&opened.login_user)), MOST_LOGIN)
        && is_opened_at(opened, row)
}

/// Returns whether a column holds the text, whole or cut.
fn is_column_value(column: Option<&str>, text: Option<&str>, most: usize) -> bool {
    let cut = |text: &str| -> String { text.chars().take(most - 1).chain(['…']).collect() };
    match (column, text) {
        (Some(column), Some(text)) => {
            column == text || text.chars().count() > most && column == cut(text)
        }
        (None, None) => true,
        _ => false,
    }
}

fn is_opened_at(opened: &SessionOpened, row: &Row) -> bool {
    let wall = WallOffset::from_ns(row.get::<_, Option<i64>>(4).unwrap_or_default());
    let Some(column) = row.get::<_, Instant>(21).0 else {
        return false;
    };
    let entry = wall.wall_time(opened.opened_at);
    let apart = entry.duration_since(column);
    apart.unwrap_or_else(|earlier| earlier.duration()) <= SAME_TIME
}

fn provenance(opened: &SessionOpened, row: &Row) -> Provenance {
    let ca = opened.auth.certificate.as_ref();
    let ca = ca.map(|_| match row.get::<_, Option<String>>(11) {
        Some(mount) => Ca::Ours { mount },
        None => Ca::Unknown,
    });
    let person: Option<String> = row.get(10);
    let requests: Option<Json<Vec<RequestRow>>> = row.get(20);
    // Null means that requests were not looked up. That differs from an empty list.
    let requests = requests.map(|json| {
        let more = json.0.len() > MOST_REQUESTS;
        let rows = json.0.into_iter().take(MOST_REQUESTS);
        let rows = rows.map(AccessRequest::from).collect();
        AccessRequests { rows, more }
    });
    Provenance {
        person: person.map(Person::new),
        ca,
        requests,
        unheard: row.get(24),
    }
}

fn identity(
    opened: &SessionOpened,
    wall: WallOffset,
    ca: Option<&Ca>,
    contradictions: Option<Vec<String>>,
) -> Identity {
    let trust = match ca {
        Some(Ca::Ours { mount }) => CaTrust::Ours {
            mount: Some(mount.clone()),
        },
        Some(Ca::Unknown) | None => CaTrust::Unknown,
    };
    let mut identity = Identity::verify(opened, wall.wall_time(opened.opened_at), trust);
    let words = contradictions.unwrap_or_default();
    let known = words
        .iter()
        .filter_map(|word| Contradiction::from_word(word));
    identity.contradictions.extend(known);
    identity
}

/// An element of the column `requests`.
#[derive(Debug, Deserialize)]
struct RequestRow {
    vault_user: String,
    at_us: i64,
    hostname: String,
    is_hop: bool,
    source_ip: Option<std::net::IpAddr>,
    source_port: Option<u16>,
    client_user: Option<String>,
    client_host: Option<String>,
}

impl From<RequestRow> for AccessRequest {
    fn from(asked: RequestRow) -> Self {
        Self {
            person: Person::new(asked.vault_user),
            at: UNIX_EPOCH + Duration::from_micros(unsigned(asked.at_us)),
            host: asked.hostname,
            is_hop: asked.is_hop,
            source_ip: asked.source_ip,
            source_port: asked.source_port,
            client_user: asked.client_user,
            client_host: asked.client_host,
        }
    }
}

/// Converts a counter or sequence number. Its column type allows negative values, which never occur.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Converts the time of a row back to the boot clock; exact to a microsecond.
pub(super) fn boot_time(wall: WallOffset, at: SystemTime) -> BootNs {
    let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let at = i128::try_from(at).unwrap_or(i128::MAX);
    BootNs(u64::try_from(at.saturating_sub(i128::from(wall.as_ns()))).unwrap_or(0))
}
