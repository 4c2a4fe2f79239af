//! Events and journal entries on their way into one batch.

use std::collections::HashMap;

use vctl_common::event::{self, DecodeError};
use vctl_common::id::{BootId, CertSerial, SessionId};
use vctl_common::session::{JournalEntry, SessionOpened};
use vctl_common::spool::{
    BatchHeader, BlockEntry, BlockFacts, BlockKind, BlockPlace, RingPosition, write_journal_line,
};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::Mark;

use super::error::SpoolError;

/// Bytes of a block. A flipped bit costs one block, so blocks are as small as their overhead allows.
const BLOCK_BYTES: usize = 64 * 1024;
/// Most bytes of a buffer that is reused for the next batch.
const KEPT_BYTES: usize = 1024 * 1024;

/// Collects one batch. Reused, so that the usual event needs no allocation.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    blocks: Vec<Block>,
    /// The number of `blocks` in use; the others are spare buffers.
    used: usize,
    /// The block that takes the next event of a session.
    open: HashMap<Mark, usize>,
    /// Events come in runs of one session.
    last: Option<(Mark, usize)>,
    payload_bytes: usize,
    pub(super) changes: Vec<Change>,
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: BlockKind,
    pub(super) mark: Mark,
    pub(super) serial: Option<CertSerial>,
    count: u32,
    first_seq: u64,
    last_seq: u64,
    first_at: BootNs,
    last_at: BootNs,
    /// The clocks of an earlier batch, for copied blocks.
    wall: Option<WallOffset>,
    payload: Vec<u8>,
}

/// The change of the set of open sessions by a journal entry, once it is written.
#[derive(Debug)]
pub(super) enum Change {
    Opened(Box<SessionOpened>),
    Closed(Mark),
}

impl BatchBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Bytes of events and journal entries; callers commit before this becomes large.
    pub fn len(&self) -> usize {
        self.payload_bytes
    }

    /// Adds one wire record. `mark` is 0 for an event of no session.
    ///
    /// # Errors
    /// The bytes are not one record: nothing was added.
    pub fn push_event(
        &mut self,
        mark: Mark,
        serial: Option<CertSerial>,
        record: &[u8],
    ) -> Result<(), DecodeError> {
        let header = event::header(record)?;
        if header.len as usize != record.len() {
            return Err(DecodeError::WrongLength {
                len: record.len(),
                says: header.len as usize,
            });
        }
        let nth = match self.last {
            Some((last, nth)) if last == mark => nth,
            _ => self.open.get(&mark).copied().unwrap_or(usize::MAX),
        };
        let full = |block: &Block| block.payload.len() + record.len() > BLOCK_BYTES;
        let nth = match self.blocks[..self.used].get(nth) {
            Some(block) if !full(block) => nth,
            _ => {
                let nth = self.begin(BlockKind::Events, mark, serial, None);
                self.open.insert(mark, nth);
                nth
            }
        };
        self.last = Some((mark, nth));
        let block = &mut self.blocks[nth];
        block.note(
            header.session_seq,
            header.session_seq,
            BootNs(header.at),
            BootNs(header.at),
        );
        block.payload.extend_from_slice(record);
        self.payload_bytes += record.len();
        Ok(())
    }

    /// Adds one journal entry.
    pub fn push_journal(&mut self, entry: &JournalEntry) -> Result<(), SpoolError> {
        let (mark, serial, at) = match entry {
            JournalEntry::Opened(opened) => (opened.id.mark(), serial_of(opened), opened.opened_at),
            JournalEntry::Closed(closed) => (closed.id.mark(), None, closed.at),
            JournalEntry::Gap(gap) => (gap.session.map_or(0, SessionId::mark), None, gap.to),
        };
        let first_at = match entry {
            JournalEntry::Gap(gap) => gap.from,
            _ => at,
        };
        let nth = self.begin(BlockKind::Journal, mark, serial, None);
        self.write_line(nth, entry, None, (first_at, at))?;
        match entry {
            JournalEntry::Opened(opened) => self.changes.push(Change::Opened(opened.clone())),
            JournalEntry::Closed(closed) => self.changes.push(Change::Closed(closed.id.mark())),
            JournalEntry::Gap(_) => {}
        }
        Ok(())
    }

    /// Begins a block of entries copied from another segment, with the clocks `wall`.
    pub(super) fn begin_carried(
        &mut self,
        mark: Mark,
        serial: Option<CertSerial>,
        wall: WallOffset,
    ) -> usize {
        self.begin(BlockKind::CarriedJournal, mark, serial, Some(wall))
    }

    /// Copies a block of events of another segment unchanged.
    pub(super) fn carry_events(&mut self, entry: &BlockEntry, payload: &[u8]) {
        let wall = Some(entry.wall_offset());
        let nth = self.begin(BlockKind::CarriedEvents, entry.mark(), entry.serial(), wall);
        let block = &mut self.blocks[nth];
        block.count = u32::try_from(entry.count()).unwrap_or(u32::MAX);
        (block.first_seq, block.last_seq) = (entry.first_seq(), entry.last_seq());
        (block.first_at, block.last_at) = (entry.first_at(), entry.last_at());
        block.payload.extend_from_slice(payload);
        self.payload_bytes += payload.len();
    }

    /// Adds a line to a journal block; `boot_id` is set when it is not the boot of the segment.
    pub(super) fn write_line(
        &mut self,
        nth: usize,
        entry: &JournalEntry,
        boot_id: Option<BootId>,
        (from, to): (BootNs, BootNs),
    ) -> Result<(), SpoolError> {
        let block = &mut self.blocks[nth];
        let before = block.payload.len();
        write_journal_line(&mut block.payload, entry, boot_id)
            .map_err(|source| SpoolError::Journal { source })?;
        block.note(0, 0, from, to);
        self.payload_bytes += block.payload.len() - before;
        Ok(())
    }

    fn begin(
        &mut self,
        kind: BlockKind,
        mark: Mark,
        serial: Option<CertSerial>,
        wall: Option<WallOffset>,
    ) -> usize {
        let nth = self.used;
        let payload = match self.blocks.get_mut(nth) {
            Some(kept) => std::mem::take(&mut kept.payload),
            None => Vec::new(),
        };
        let block = Block {
            kind,
            mark,
            serial,
            count: 0,
            first_seq: 0,
            last_seq: 0,
            first_at: BootNs(0),
            last_at: BootNs(0),
            wall,
            payload,
        };
        match self.blocks.get_mut(nth) {
            Some(kept) => *kept = block,
            None => self.blocks.push(block),
        }
        self.used += 1;
        nth
    }

    pub(super) fn blocks(&self) -> &[Block] {
        &self.blocks[..self.used]
    }

    pub(super) fn blocks_mut(&mut self) -> &mut [Block] {
        &mut self.blocks[..self.used]
    }

    /// Returns the size of the batch on disk.
    pub(super) fn disk_len(&self) -> u64 {
        let blocks = u32::try_from(self.used).unwrap_or(u32::MAX);
        BatchHeader::payloads_at(0, blocks) + self.payload_bytes as u64
    }

    /// Writes the batch into `out` for the place `at` in a segment; `table` receives its entries.
    pub(super) fn encode(
        &self,
        batch_magic: u64,
        at: u64,
        ring: Option<RingPosition>,
        wall: WallOffset,
        out: &mut Vec<u8>,
        table: &mut Vec<BlockEntry>,
    ) -> Result<(), SpoolError> {
        let too_large = || SpoolError::BatchTooLarge {
            len: self.disk_len(),
        };
        let of = u32::try_from(self.used).map_err(|_| too_large())?;
        let len = u32::try_from(self.disk_len()).map_err(|_| too_large())?;
        let mut offset = BatchHeader::payloads_at(at, of);
        out.clear();
        table.clear();
        for (nth, block) in (0..of).zip(self.blocks()) {
            let place = BlockPlace {
                offset: u32::try_from(offset).map_err(|_| too_large())?,
                nth,
                of,
            };
            let facts = BlockFacts {
                kind: block.kind,
                mark: block.mark,
                serial: block.serial,
                count: block.count,
                first_seq: block.first_seq,
                last_seq: block.last_seq,
                first_at: block.first_at,
                last_at: block.last_at,
                wall_offset: block.wall.unwrap_or(wall),
            };
            let entry = BlockEntry::new(&facts, place, &block.payload).ok_or_else(too_large)?;
            table.push(entry);
            offset = entry.end();
        }
        u32::try_from(offset).map_err(|_| too_large())?;
        out.reserve(len as usize);
        out.extend_from_slice(BatchHeader::new(batch_magic, of, len, ring).encoded());
        out.extend_from_slice(BlockEntry::encoded(table));
        for block in self.blocks() {
            out.extend_from_slice(&block.payload);
        }
        Ok(())
    }

    /// Empties the batch and keeps buffers of the usual size.
    pub fn clear(&mut self) {
        let mut kept = 0;
        for block in &mut self.blocks {
            block.payload.clear();
            kept += block.payload.capacity();
        }
        if kept > KEPT_BYTES {
            self.blocks = Vec::new();
        }
        self.used = 0;
        self.open.clear();
        self.last = None;
        self.payload_bytes = 0;
        self.changes.clear();
    }
}

impl Block {
    fn note(&mut self, first_seq: u64, last_seq: u64, from: BootNs, to: BootNs) {
        if self.count == 0 {
            (self.first_seq, self.last_seq) = (first_seq, last_seq);
            (self.first_at, self.last_at) = (from, to);
        } else {
            self.first_seq = self.first_seq.min(first_seq);
            self.last_seq = self.last_seq.max(last_seq);
            self.first_at = self.first_at.min(from);
            self.last_at = self.last_at.max(to);
        }
        self.count += 1;
    }

    pub(super) fn events(&self) -> u64 {
        match self.kind {
            BlockKind::Events => u64::from(self.count),
            _ => 0,
        }
    }
}

pub(super) fn serial_of(opened: &SessionOpened) -> Option<CertSerial> {
    opened.auth.certificate.as_ref()?.serial
}
