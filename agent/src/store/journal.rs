//! Journal entries in the form of `ingest_v1`. No I/O.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vctl_common::id::{BootId, SessionId};
use vctl_common::session::{
    CloseReason, Gap, GapCause, JournalEntry, Origin, SessionClosed, SessionOpened,
};
use vctl_common::spool::{JournalLine, journal_lines};
use vctl_common::time::WallOffset;
use vctl_common::wire::Mark;

use super::chunk::{Block, Chunk};

/// Sessions that the journal has named so far: blocks of events contain only marks.
///
/// The head of each segment names every open session, so two segments are enough.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    current: HashMap<Mark, Known>,
    earlier: HashMap<Mark, Known>,
}

/// A session in a message, for a reader that does not have the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NamedSession {
    id: SessionId,
    boot_id: BootId,
    /// Nanoseconds between the boot clock and wall time, at the session's opening.
    wall: i64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    id: SessionId,
    boot_id: BootId,
    wall: WallOffset,
}

impl Sessions {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn next_segment(&mut self) {
        self.earlier = std::mem::take(&mut self.current);
    }

    pub(super) fn learn(&mut self, entry: &JournalEntry, boot_id: BootId, wall: WallOffset) {
        if let JournalEntry::Opened(opened) = entry
            && !self.is_alias(opened.id)
        {
            let id = opened.id;
            let known = Known { id, boot_id, wall };
            self.current.insert(id.mark(), known);
        }
    }

    /// Returns the sessions with these marks that are known.
    pub(super) fn named(&self, marks: impl Iterator<Item = Mark>) -> Vec<NamedSession> {
        let marks: BTreeSet<Mark> = marks.filter(|mark| *mark != 0).collect();
        let known = marks.into_iter().filter_map(|mark| self.known(mark));
        known
            .map(|known| NamedSession {
                id: known.id,
                boot_id: known.boot_id,
                wall: known.wall.as_ns(),
            })
            .collect()
    }

    /// Returns the sessions of a message.
    pub(super) fn of(named: Vec<NamedSession>) -> Self {
        let mut sessions = Self::default();
        for session in named {
            let known = Known {
                id: session.id,
                boot_id: session.boot_id,
                wall: WallOffset::from_ns(session.wall),
            };
            sessions.current.insert(session.id.mark(), known);
        }
        sessions
    }

    /// Learns the sessions that a chunk's journal names.
    pub(super) fn learn_all(&mut self, chunk: &Chunk) {
        self.learn_blocks(chunk, &chunk.blocks);
    }

    /// Learns the sessions that these journal blocks name; `chunk` has their payloads.
    pub(super) fn learn_blocks(&mut self, chunk: &Chunk, blocks: &[Block]) {
        for block in blocks.iter().filter(|block| block.entry.is_journal()) {
            let entry = &block.entry;
            let payload = block.payload.clone();
            let payload = payload.and_then(|payload| chunk.bytes.get(payload));
            for line in journal_lines(entry.kind(), payload.unwrap_or_default()).flatten() {
                let boot_id = line.boot_id.unwrap_or(chunk.boot_id);
                self.learn(&line.entry, boot_id, entry.wall_offset());
            }
        }
    }

    /// Returns the id of the session with this mark, or an id that stands for an unknown session.
    pub(super) fn id(&self, mark: Mark) -> SessionId {
        self.known(mark)
            .map_or_else(|| SessionId::from_mark(mark), |known| known.id)
    }

    /// Returns whether the journal has named this session under another id: an agent that did not know it any more has
    /// made an id of its mark.
    fn is_alias(&self, id: SessionId) -> bool {
        id == SessionId::from_mark(id.mark())
            && self.known(id.mark()).is_some_and(|known| known.id != id)
    }

    fn known(&self, mark: Mark) -> Option<&Known> {
        self.current.get(&mark).or_else(|| self.earlier.get(&mark))
    }
}

/// Rows of one batch.
#[derive(Debug, Default)]
pub(super) struct JournalRows {
    pub(super) opened: Vec<OpenedRow>,
    pub(super) closed: Vec<ClosedRow>,
    pub(super) gaps: Vec<GapRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct OpenedRow {
    id: Uuid,
    boot_id: Uuid,
    wall: i64,
    opened_at: String,
    login_user: String,
    service: String,
    origin: &'static str,
    from_session: Option<Uuid>,
    source_ip: Option<String>,
    stamp: Option<String>,
    ca_fingerprint: Option<String>,
    /// Text: JSON has no unsigned 64-bit numbers.
    cert_serial: Option<String>,
    key_id: Option<String>,
    entry: String,
}

#[derive(Debug, Serialize)]
pub(super) struct ClosedRow {
    id: Uuid,
    closed_at: String,
    wall: Option<i64>,
    produced: Option<i64>,
    entry: String,
}

#[derive(Debug, Serialize)]
pub(super) struct GapRow {
    session: Option<Uuid>,
    boot_id: Uuid,
    cause: Option<String>,
    events: Option<i64>,
    from_at: String,
    to_at: String,
    entry: String,
}

impl JournalRows {
    /// Adds one line of a journal block: `bytes` from the spool, `line` parsed. `boot_id` is that
    /// of the segment, `wall` that of the block.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        line: &JournalLine,
        boot_id: BootId,
        wall: WallOffset,
        sessions: &Sessions,
    ) {
        let of = line.boot_id.unwrap_or(boot_id);
        match &line.entry {
            // The named session has its own beginning and end.
            JournalEntry::Opened(entry) if sessions.is_alias(entry.id) => {}
            JournalEntry::Closed(entry) if sessions.is_alias(entry.id) => {}
            JournalEntry::Opened(entry) => {
                self.opened
                    .push(opened(entry, of, wall, own_text(bytes, line)));
            }
            JournalEntry::Closed(entry) => {
                let known = sessions.known(entry.id.mark());
                // A later boot found the session closed, and noted the time in its own clock.
                let other_clock = entry.reason == CloseReason::HostRebooted
                    || known.is_some_and(|known| known.boot_id != of);
                let own = (!other_clock).then_some(wall);
                let clock = own.or(known.map(|known| known.wall)).unwrap_or(wall);
                self.closed
                    .push(closed(entry, own, clock, own_text(bytes, line)));
            }
            // The centre has these events, so the end of this host's copy is not a gap.
            JournalEntry::Gap(entry) if entry.cause == GapCause::Shipped => {}
            JournalEntry::Gap(entry) => {
                let session = entry.session.map(|id| sessions.id(id.mark()));
                self.gaps
                    .push(gap_row(entry, session, of, wall, own_text(bytes, line)));
            }
        }
    }

    /// Adds a gap that was found here and is not in the spool.
    pub(super) fn take_gap(&mut self, gap: &Gap, boot_id: BootId, wall: WallOffset) {
        let entry = serde_json::to_string(&JournalEntry::Gap(gap.clone())).unwrap_or_default();
        self.gaps
            .push(gap_row(gap, gap.session, boot_id, wall, entry));
    }
}

fn opened(entry: &SessionOpened, boot_id: BootId, wall: WallOffset, text: String) -> OpenedRow {
    let certificate = entry.auth.certificate.as_ref();
    let (origin, from) = match &entry.origin {
        Origin::Login => ("login", None),
        Origin::Detached { from } => ("detached", from.as_ref()),
    };
    OpenedRow {
        id: entry.id.as_uuid(),
        boot_id: boot_id.as_uuid(),
        wall: wall.as_ns(),
        opened_at: time(wall.wall_time(entry.opened_at)),
        login_user: without_nul(&entry.login_user),
        service: without_nul(&entry.service),
        origin,
        from_session: from.map(|link| link.session.as_uuid()),
        source_ip: entry.source_ip.map(|ip| ip.to_string()),
        stamp: word(&entry.stamp),
        ca_fingerprint: certificate.map(|c| without_nul(&c.ca_fingerprint)),
        cert_serial: certificate.and_then(|c| Some(c.serial?.to_string())),
        key_id: certificate.map(|c| without_nul(&c.key_id)),
        entry: text,
    }
}

/// `clock` converts the entry's time to wall time; `own` is used if the entry is of the same boot.
fn closed(
    entry: &SessionClosed,
    own: Option<WallOffset>,
    clock: WallOffset,
    text: String,
) -> ClosedRow {
    ClosedRow {
        id: entry.id.as_uuid(),
        closed_at: time(clock.wall_time(entry.at)),
        wall: own.map(WallOffset::as_ns),
        produced: entry.produced.map(number),
        entry: text,
    }
}

/// `session` is the id under which the store knows the session.
fn gap_row(
    gap: &Gap,
    session: Option<SessionId>,
    boot_id: BootId,
    wall: WallOffset,
    text: String,
) -> GapRow {
    GapRow {
        session: session.map(SessionId::as_uuid),
        boot_id: boot_id.as_uuid(),
        cause: word(&gap.cause),
        events: gap.events.map(number),
        from_at: time(wall.wall_time(gap.from)),
        to_at: time(wall.wall_time(gap.to)),
        entry: text,
    }
}

/// Returns the entry in the spool's form, without the boot id at the end of a carried line. So a
/// repeated entry has the same text everywhere.
fn own_text(bytes: &[u8], line: &JournalLine) -> String {
    let text = String::from_utf8_lossy(bytes);
    let boot_id = line.boot_id.map(|id| format!(",\"boot_id\":\"{id}\"}}"));
    match boot_id.and_then(|boot_id| text.strip_suffix(&boot_id)) {
        Some(entry) => format!("{entry}}}"),
        None => text.into_owned(),
    }
}

/// Returns serde's name for a value without fields.
fn word(value: &impl Serialize) -> Option<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Some(word),
        _ => None,
    }
}

/// Postgres' text has no NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Returns RFC 3339, in UTC.
fn time(at: SystemTime) -> String {
    Timestamp::try_from(at)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::time::BootNs;

    #[test]
    fn an_entry_without_a_name_takes_no_events_of_a_named_one() {
        let wall = WallOffset::from_ns(0);
        let boot_id = BootId::from_uuid(Uuid::from_u128(1));
        let named = SessionId::generate();
        let alias = SessionId::from_mark(named.mark());
        let opened = |id| JournalEntry::Opened(Box::new(SessionOpened::unknown(id, BootNs(1))));
        let mut sessions = Sessions::default();
        sessions.learn(&opened(alias), boot_id, wall);
        assert_eq!(sessions.id(named.mark()), alias, "no other name is known");
        sessions.learn(&opened(named), boot_id, wall);
        sessions.learn(&opened(alias), boot_id, wall);
        assert_eq!(sessions.id(named.mark()), named);
        sessions.next_segment();
        sessions.learn(&opened(alias), boot_id, wall);
        assert_eq!(sessions.id(named.mark()), named);
    }
}
