//! Batches and their blocks: the bytes on disk.

use zerocopy::little_endian::{I64, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::{CertSerial, SessionId};
use crate::session::{Gap, GapCause};
use crate::time::{BootNs, WallOffset};
use crate::wire::Mark;

/// Position of the ring up to which a batch is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingPosition {
    /// Identifies one pinned ring, never 0; the positions of another ring begin at 0 again.
    pub ring_id: u64,
    /// Consumer position in bytes; all data before it is stored.
    pub end: u64,
}

/// Header of a batch: the unit that is stored completely or not at all.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct BatchHeader {
    magic: U64,
    /// Checksum of the rest of the header.
    crc: U32,
    blocks: U32,
    /// Length of header, table and payloads.
    len: U32,
    ring_id: U64,
    ring_end: U64,
}

impl BatchHeader {
    pub const LEN: usize = size_of::<Self>();

    pub fn new(batch_magic: u64, blocks: u32, len: u32, ring: Option<RingPosition>) -> Self {
        let ring = ring.unwrap_or_default();
        let mut header = Self {
            magic: batch_magic.into(),
            crc: 0.into(),
            blocks: blocks.into(),
            len: len.into(),
            ring_id: ring.ring_id.into(),
            ring_end: ring.end.into(),
        };
        header.crc = header.checksum().into();
        header
    }

    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[12..])
    }

    /// Returns the header at the beginning of `bytes` if it is undamaged and of this segment.
    pub fn decode(bytes: &[u8], batch_magic: u64) -> Option<Self> {
        let (header, _) = Self::read_from_prefix(bytes).ok()?;
        let whole = header.magic.get() == batch_magic
            && header.crc.get() == header.checksum()
            && header.blocks() > 0
            && header.len() >= Self::payloads_at(0, header.blocks());
        whole.then_some(header)
    }

    pub fn encoded(&self) -> &[u8] {
        self.as_bytes()
    }

    pub fn blocks(&self) -> u32 {
        self.blocks.get()
    }

    pub fn len(&self) -> u64 {
        u64::from(self.len.get())
    }

    pub fn is_empty(&self) -> bool {
        self.blocks() == 0
    }

    /// Returns the ring position; `None` when no ring had been read yet.
    pub fn ring(&self) -> Option<RingPosition> {
        let ring_id = self.ring_id.get();
        (ring_id != 0).then(|| RingPosition {
            ring_id,
            end: self.ring_end.get(),
        })
    }

    /// Returns the offset of the first payload in a batch that begins at `batch`.
    pub fn payloads_at(batch: u64, blocks: u32) -> u64 {
        batch
            .saturating_add(Self::LEN as u64)
            .saturating_add(u64::from(blocks) * BlockEntry::LEN as u64)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    Events,
    Journal,
    /// Journal entries of an earlier segment, repeated in this one.
    CarriedJournal,
    /// Events of an earlier segment that was dropped to make room, repeated in this one.
    CarriedEvents,
}

impl BlockKind {
    fn to_raw(self) -> u32 {
        match self {
            Self::Events => 1,
            Self::Journal => 2,
            Self::CarriedJournal => 3,
            Self::CarriedEvents => 4,
        }
    }

    fn from_raw(raw: u32) -> Option<Self> {
        [
            Self::Events,
            Self::Journal,
            Self::CarriedJournal,
            Self::CarriedEvents,
        ]
        .into_iter()
        .find(|kind| kind.to_raw() == raw)
    }

    pub fn is_journal(self) -> bool {
        matches!(self, Self::Journal | Self::CarriedJournal)
    }

    pub fn is_events(self) -> bool {
        matches!(self, Self::Events | Self::CarriedEvents)
    }

    /// Returns whether the block repeats a block of an earlier segment.
    pub fn is_carried(self) -> bool {
        matches!(self, Self::CarriedJournal | Self::CarriedEvents)
    }
}

/// Content and location of one block: the same bytes in the batch and in the index.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct BlockEntry {
    /// Checksum of the rest of the entry.
    crc: U32,
    payload_crc: U32,
    mark: U64,
    serial: U64,
    offset: U32,
    len: U32,
    nth: U32,
    of: U32,
    kind: U32,
    count: U32,
    first_seq: U64,
    last_seq: U64,
    first_at: U64,
    last_at: U64,
    wall_offset: I64,
}

/// The parts of an entry that its writer chooses.
#[derive(Clone, Copy, Debug)]
pub struct BlockFacts {
    pub kind: BlockKind,
    pub mark: Mark,
    pub serial: Option<CertSerial>,
    pub count: u32,
    pub first_seq: u64,
    pub last_seq: u64,
    pub first_at: BootNs,
    pub last_at: BootNs,
    pub wall_offset: WallOffset,
}

/// Location of a block: `nth` of the `of` blocks of its batch.
#[derive(Clone, Copy, Debug)]
pub struct BlockPlace {
    pub offset: u32,
    pub nth: u32,
    pub of: u32,
}

impl BlockEntry {
    pub const LEN: usize = size_of::<Self>();

    pub fn new(facts: &BlockFacts, place: BlockPlace, payload: &[u8]) -> Option<Self> {
        let mut entry = Self {
            crc: 0.into(),
            payload_crc: crc32c::crc32c(payload).into(),
            mark: facts.mark.into(),
            serial: facts.serial.map_or(0, CertSerial::get).into(),
            offset: place.offset.into(),
            len: u32::try_from(payload.len()).ok()?.into(),
            nth: place.nth.into(),
            of: place.of.into(),
            kind: facts.kind.to_raw().into(),
            count: facts.count.into(),
            first_seq: facts.first_seq.into(),
            last_seq: facts.last_seq.into(),
            first_at: facts.first_at.0.into(),
            last_at: facts.last_at.0.into(),
            wall_offset: facts.wall_offset.as_ns().into(),
        };
        entry.crc = entry.checksum().into();
        Some(entry)
    }

    /// Returns a table in the form that batches and indexes contain.
    pub fn encoded(table: &[Self]) -> &[u8] {
        table.as_bytes()
    }

    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[4..])
    }

    /// Returns whether the entry is undamaged.
    pub fn is_whole(&self) -> bool {
        self.crc.get() == self.checksum()
    }

    /// Returns whether `payload` has the block's checksum.
    pub fn owns(&self, payload: &[u8]) -> bool {
        payload.len() == self.len() && self.payload_crc.get() == crc32c::crc32c(payload)
    }

    /// Returns the kind; `None` for one that this version does not know.
    pub fn kind(&self) -> Option<BlockKind> {
        BlockKind::from_raw(self.kind.get())
    }

    pub fn is_events(&self) -> bool {
        self.kind().is_some_and(BlockKind::is_events)
    }

    pub fn is_carried(&self) -> bool {
        self.kind().is_some_and(BlockKind::is_carried)
    }

    /// Returns whether both blocks hold the same events of one session, in any location.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        let facts = |e: &Self| {
            (
                e.mark,
                e.payload_crc,
                e.len,
                e.count,
                e.first_seq,
                e.last_seq,
            )
        };
        self.is_events() && other.is_events() && facts(self) == facts(other)
    }

    pub fn is_journal(&self) -> bool {
        self.kind().is_some_and(BlockKind::is_journal)
    }

    /// Returns the session's mark; 0 for a block of no session.
    pub fn mark(&self) -> Mark {
        self.mark.get()
    }

    pub fn serial(&self) -> Option<CertSerial> {
        CertSerial::new(self.serial.get())
    }

    pub fn offset(&self) -> u64 {
        u64::from(self.offset.get())
    }

    pub fn len(&self) -> usize {
        self.len.get() as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn end(&self) -> u64 {
        self.offset() + u64::from(self.len.get())
    }

    pub fn nth(&self) -> u32 {
        self.nth.get()
    }

    pub fn of(&self) -> u32 {
        self.of.get()
    }

    pub fn is_last(&self) -> bool {
        self.nth().checked_add(1) == Some(self.of())
    }

    /// Returns the number of events or journal entries in the block.
    pub fn count(&self) -> u64 {
        u64::from(self.count.get())
    }

    /// Returns the lowest session sequence number; 0 in a block without events.
    pub fn first_seq(&self) -> u64 {
        self.first_seq.get()
    }

    pub fn last_seq(&self) -> u64 {
        self.last_seq.get()
    }

    pub fn first_at(&self) -> BootNs {
        BootNs(self.first_at.get())
    }

    pub fn last_at(&self) -> BootNs {
        BootNs(self.last_at.get())
    }

    pub fn wall_offset(&self) -> WallOffset {
        WallOffset::from_ns(self.wall_offset.get())
    }

    /// A gap of all events of this block.
    pub fn gap(&self, cause: GapCause, session: impl Into<Option<SessionId>>) -> Gap {
        Gap::new(cause, session, self.first_at(), self.last_at())
            .with_events(self.count())
            .with_numbers(self.first_seq(), self.last_seq())
    }

    /// Returns the offset of the entry's batch if the entry is its first one.
    pub fn batch_at(&self) -> Option<u64> {
        let head = BatchHeader::payloads_at(0, self.of());
        (self.nth() == 0).then(|| self.offset().checked_sub(head))?
    }
}

/// Returns a number, never 0, that identifies a batch by the content of its table.
pub fn table_check(table: &[BlockEntry]) -> u32 {
    crc32c::crc32c(BlockEntry::encoded(table)).max(1)
}

/// Returns the number of a batch's first entries, from that of fewer of them and the entries in between.
pub fn table_check_from(check: u32, more: &[BlockEntry]) -> u32 {
    crc32c::crc32c_append(check, BlockEntry::encoded(more)).max(1)
}

const _: () = {
    assert!(BatchHeader::LEN == 36, "part of the format");
    assert!(BlockEntry::LEN == 88, "part of the format");
};
