//! The data of one session in the journal and the indexes.

use std::time::SystemTime;

use indexmap::IndexSet;

use super::block::{BlockEntry, BlockKind};
use super::segment::Segment;
use crate::id::{BootId, CertSerial};
use crate::session::{CloseReason, Gap, JournalEntry, SessionClosed, SessionOpened};
use crate::time::{BootNs, WallOffset};
use crate::wire::Mark;

/// The data of one session in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    pub opened: SessionOpened,
    pub closed: Option<SessionClosed>,
    /// Gaps of the session, and gaps without a session from its time.
    pub gaps: Vec<Gap>,
    pub boot_id: BootId,
    pub host: String,
    /// Clocks when the session was opened.
    pub wall: WallOffset,
    /// Clocks when the session was closed.
    pub closed_wall: Option<WallOffset>,
    /// Number of events in the spool.
    pub stored: u64,
    /// Time of the last of them.
    pub last_at: Option<BootNs>,
    /// Highest session sequence number among them.
    pub last_seq: u64,
    /// Numbers of the segments that hold data of the session.
    pub segments: Vec<u64>,
}

impl SessionRecord {
    pub fn serial(&self) -> Option<CertSerial> {
        serial_of(&self.opened)
    }

    pub fn opened_at(&self) -> SystemTime {
        self.wall.wall_time(self.opened.opened_at)
    }

    pub fn closed_at(&self) -> Option<SystemTime> {
        let closed = self.closed.as_ref()?;
        Some(self.closed_wall.unwrap_or(self.wall).wall_time(closed.at))
    }
}

fn serial_of(opened: &SessionOpened) -> Option<CertSerial> {
    opened.auth.certificate.as_ref()?.serial
}

/// The data of a session in another store: the journal's entries and that store's counters.
#[derive(Clone, Debug)]
pub struct Kept {
    pub opened: SessionOpened,
    /// Clocks when the session was opened.
    pub wall: WallOffset,
    pub closed: Option<SessionClosed>,
    /// Clocks when the session was closed.
    pub closed_wall: Option<WallOffset>,
    pub boot_id: BootId,
    pub host: String,
    /// Gaps of this session, repeated as often as they were recorded.
    pub gaps: Vec<Gap>,
    /// Gaps without a session, from this boot of the host.
    pub host_wide: Vec<Gap>,
    pub stored: u64,
    pub last_at: Option<BootNs>,
    pub last_seq: u64,
}

impl From<Kept> for SessionRecord {
    /// Builds the record by the same rules as from a spool.
    fn from(kept: Kept) -> Self {
        let mut draft = Draft {
            host: kept.host,
            stored: kept.stored,
            last_at: kept.last_at,
            last_seq: kept.last_seq,
            ..Draft::default()
        };
        for mut gap in kept.gaps {
            gap.session = Some(kept.opened.id);
            draft.gaps.insert(gap);
        }
        let closed = kept.closed.map(|closed| {
            // A later boot found the session closed; its clock does not apply to this boot.
            let wall = kept
                .closed_wall
                .filter(|_| closed.reason != CloseReason::HostRebooted);
            (closed, wall)
        });
        let mut record = draft.with(kept.opened, kept.boot_id, kept.wall, closed);
        let boot_id = Some(kept.boot_id);
        let host_wide: Vec<_> = kept
            .host_wide
            .into_iter()
            .map(|gap| (boot_id, gap))
            .collect();
        record.take_host_wide(&host_wide);
        record
    }
}

/// A session of which only events are left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nameless {
    pub mark: Mark,
    pub serial: Option<CertSerial>,
    pub stored: u64,
    pub last_at: Option<BootNs>,
}

/// A session while its journal is being read.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) opened: Option<(SessionOpened, BootId, WallOffset)>,
    closed: Option<(SessionClosed, BootId, WallOffset)>,
    host: String,
    pub(super) serial: Option<CertSerial>,
    /// Each once, in order: every segment repeats those of the open sessions. Not a `Vec`, because a session may have
    /// many thousands, and the agent reads them before it is ready.
    pub(super) gaps: IndexSet<Gap>,
    pub(super) stored: u64,
    pub(super) last_at: Option<BootNs>,
    last_seq: u64,
    segments: Vec<u64>,
}

impl Draft {
    pub(super) fn in_segment(&mut self, number: u64) {
        if self.segments.last() != Some(&number) {
            self.segments.push(number);
        }
    }

    pub(super) fn stores(&mut self, entry: &BlockEntry) {
        self.stored += entry.count();
        self.last_at = self.last_at.max(Some(entry.last_at()));
        self.last_seq = self.last_seq.max(entry.last_seq());
    }

    /// Takes in an entry. The last entry counts: carried entries are copies from an earlier time.
    pub(super) fn learn(
        &mut self,
        entry: JournalEntry,
        segment: &Segment,
        boot_id: BootId,
        block: &BlockEntry,
    ) {
        let wall = block.wall_offset();
        match entry {
            // The same mark, found again after its end by an agent that did not know it: the first entry has the facts.
            JournalEntry::Opened(opened)
                if opened.is_nameless()
                    && self
                        .opened
                        .as_ref()
                        .is_some_and(|(named, ..)| !named.is_nameless()) => {}
            JournalEntry::Opened(opened) => {
                // A carried copy has the wall offset that was first written with it.
                let wall = match self.opened {
                    Some((_, _, first)) if block.kind() == Some(BlockKind::Journal) => first,
                    _ => wall,
                };
                // The login was not recorded at first, and is since.
                let never = |closed: &SessionClosed| closed.reason == CloseReason::NeverRecorded;
                if block.kind() == Some(BlockKind::Journal)
                    && self
                        .closed
                        .as_ref()
                        .is_some_and(|(closed, ..)| never(closed))
                {
                    self.closed = None;
                }
                self.opened = Some((*opened, boot_id, wall));
                self.host = segment.header.host();
            }
            JournalEntry::Closed(closed) => self.closed = Some((closed, boot_id, wall)),
            JournalEntry::Gap(gap) => {
                self.gaps.insert(gap);
            }
        }
    }

    pub(super) fn finish(mut self) -> Option<SessionRecord> {
        let (opened, boot_id, wall) = self.opened.take()?;
        let closed = self.closed.take().map(|(closed, in_boot, wall)| {
            // A later boot found the session closed, and noted the time in its own clock.
            let other = in_boot != boot_id || closed.reason == CloseReason::HostRebooted;
            (closed, (!other).then_some(wall))
        });
        Some(self.with(opened, boot_id, wall, closed))
    }

    fn with(
        self,
        opened: SessionOpened,
        boot_id: BootId,
        wall: WallOffset,
        closed: Option<(SessionClosed, Option<WallOffset>)>,
    ) -> SessionRecord {
        let session = Some(opened.id);
        let gaps = self.gaps.into_iter();
        let gaps = gaps.map(|gap| Gap { session, ..gap }).collect();
        let (closed, closed_wall) = closed.unzip();
        SessionRecord {
            opened,
            closed,
            gaps,
            boot_id,
            host: self.host,
            wall,
            closed_wall: closed_wall.flatten(),
            stored: self.stored,
            last_at: self.last_at,
            last_seq: self.last_seq,
            segments: self.segments,
        }
    }
}

impl SessionRecord {
    pub(super) fn take_host_wide(&mut self, gaps: &[(Option<BootId>, Gap)]) {
        let opened = self.opened.opened_at;
        let closed = self.closed.as_ref().map_or(BootNs(u64::MAX), |c| c.at);
        let mine = gaps.iter().filter(|(boot_id, gap)| {
            boot_id.is_none_or(|boot_id| boot_id == self.boot_id)
                && gap.from <= closed
                && gap.to >= opened
        });
        self.gaps.extend(mine.map(|(_, gap)| gap.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::session::GapCause;

    /// Takes seconds. If each gap were compared with all others, it would take many minutes.
    #[test]
    fn a_hundred_thousand_gaps_are_read_once_and_in_order() {
        const GAPS: u64 = 100_000;
        let id = SessionId::generate();
        let once =
            || (1..=GAPS).map(|n| Gap::new(GapCause::MarksFull, id, BootNs(n), BootNs(n + 1)));
        let kept = Kept {
            opened: SessionOpened::unknown(id, BootNs(1)),
            wall: WallOffset::from_ns(0),
            closed: None,
            closed_wall: None,
            boot_id: BootId::from_uuid(uuid::Uuid::from_u128(1)),
            host: "web-1".to_owned(),
            gaps: once().chain(once()).collect(),
            host_wide: Vec::new(),
            stored: 0,
            last_at: None,
            last_seq: 0,
        };
        let record = SessionRecord::from(kept);
        assert!(record.gaps.into_iter().eq(once()));
    }
}
