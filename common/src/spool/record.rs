//! What the journal and the indexes say of one session.

use std::time::SystemTime;

use super::block::{BlockEntry, BlockKind};
use super::segment::Segment;
use crate::id::{BootId, CertSerial};
use crate::session::{CloseReason, Gap, JournalEntry, SessionClosed, SessionOpened};
use crate::time::{BootNs, WallOffset};
use crate::wire::Mark;

/// What the journal says of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    pub opened: SessionOpened,
    pub closed: Option<SessionClosed>,
    /// Those of the session, and those of nobody in particular from its time.
    pub gaps: Vec<Gap>,
    pub boot_id: BootId,
    pub host: String,
    /// As the clocks stood when the session was opened.
    pub wall: WallOffset,
    /// As the clocks stood when it was closed.
    pub closed_wall: Option<WallOffset>,
    /// Events in the spool.
    pub stored: u64,
    /// When the last of them happened.
    pub last_at: Option<BootNs>,
    /// The highest session sequence number among them.
    pub last_seq: u64,
    /// Numbers of the segments that hold something of it.
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

/// What another store kept of a session: the journal's entries and its own counters.
#[derive(Clone, Debug)]
pub struct Kept {
    pub opened: SessionOpened,
    /// The clocks when it was opened.
    pub wall: WallOffset,
    pub closed: Option<SessionClosed>,
    /// The clocks when it was closed.
    pub closed_wall: Option<WallOffset>,
    pub boot_id: BootId,
    pub host: String,
    /// Of this session, each as often as it was told.
    pub gaps: Vec<Gap>,
    /// Of nobody in particular, from this boot of the host.
    pub host_wide: Vec<Gap>,
    pub stored: u64,
    pub last_at: Option<BootNs>,
    pub last_seq: u64,
}

impl From<Kept> for SessionRecord {
    /// Reads the entries as they are read in a spool.
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
            if !draft.gaps.contains(&gap) {
                draft.gaps.push(gap);
            }
        }
        let closed = kept.closed.map(|closed| {
            // Found to be over by a later boot, whose clock says nothing about this one.
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

/// A session of which only the events are left.
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
    pub(super) gaps: Vec<Gap>,
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

    /// The last word counts: what is carried to the next segment is as it was known then.
    pub(super) fn learn(
        &mut self,
        entry: JournalEntry,
        segment: &Segment,
        boot_id: BootId,
        block: &BlockEntry,
    ) {
        let wall = block.wall_offset();
        match entry {
            JournalEntry::Opened(opened) => {
                // A carried copy has the wall offset it was first written with.
                let wall = match self.opened {
                    Some((_, _, first)) if block.kind() == Some(BlockKind::Journal) => first,
                    _ => wall,
                };
                self.opened = Some((*opened, boot_id, wall));
                self.host = segment.header.host();
            }
            JournalEntry::Closed(closed) => self.closed = Some((closed, boot_id, wall)),
            JournalEntry::Gap(gap) => {
                if !self.gaps.contains(&gap) {
                    self.gaps.push(gap);
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> Option<SessionRecord> {
        let (opened, boot_id, wall) = self.opened.take()?;
        let closed = self.closed.take().map(|(closed, in_boot, wall)| {
            // Found to be over by a later boot, in the clock of its own.
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
        let mut gaps = self.gaps;
        for gap in &mut gaps {
            gap.session = Some(opened.id);
        }
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
