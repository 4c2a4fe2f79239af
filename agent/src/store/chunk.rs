//! The content of one call of the ingest function: some batches of one segment. No I/O.

use std::ops::Range;

use vctl_common::id::BootId;
use vctl_common::session::Gap;
use vctl_common::spool::{BatchHeader, BlockEntry, BlockKind, table_check};
use vctl_common::time::WallOffset;

use crate::spool::Position;

/// Limits of one call. A single batch may be larger, and is then sent alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) events: u64,
    pub(super) bytes: usize,
}

/// Batches on their way to the centre.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) from: Position,
    pub(crate) to: Position,
    pub(crate) boot_id: BootId,
    /// Holds the payloads.
    pub(crate) bytes: Vec<u8>,
    pub(crate) blocks: Vec<Block>,
    /// Data that is no longer readable and whose session is unknown.
    pub(crate) unreadable: Vec<Gap>,
}

#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) entry: BlockEntry,
    /// Its location in `bytes`; `None` for a damaged payload.
    pub(crate) payload: Option<Range<usize>>,
}

impl Chunk {
    pub(crate) fn events(&self) -> impl Iterator<Item = (&BlockEntry, &[u8])> {
        self.whole().filter(|(entry, _)| entry.is_events())
    }

    pub(super) fn journal(&self) -> impl Iterator<Item = (&BlockEntry, &[u8])> {
        self.whole().filter(|(entry, _)| entry.is_journal())
    }

    fn whole(&self) -> impl Iterator<Item = (&BlockEntry, &[u8])> {
        self.blocks.iter().filter_map(|block| {
            let payload = self.bytes.get(block.payload.clone()?)?;
            Some((&block.entry, payload))
        })
    }

    /// Returns the blocks with a damaged payload.
    pub(super) fn damaged(&self) -> impl Iterator<Item = &BlockEntry> {
        let damaged = self.blocks.iter().filter(|block| block.payload.is_none());
        damaged.map(|block| &block.entry)
    }

    /// Returns the clocks of the chunk, for data that has none of its own.
    pub(crate) fn wall(&self) -> WallOffset {
        let wall = self.new_blocks().map(BlockEntry::wall_offset).next();
        wall.unwrap_or(WallOffset::from_ns(0))
    }

    /// Returns the blocks that do not repeat earlier ones.
    pub(crate) fn new_blocks(&self) -> impl Iterator<Item = &BlockEntry> {
        let entries = self.blocks.iter().map(|block| &block.entry);
        entries.filter(|entry| entry.kind() != Some(BlockKind::CarriedJournal))
    }
}

/// Batches read from a segment.
#[derive(Debug, Default)]
pub(super) struct Batches {
    pub(super) blocks: Vec<Block>,
    /// Length of the batches in bytes.
    pub(super) len: usize,
    /// Check number of the last batch.
    pub(super) check: u32,
    /// Length of the next batch, when it is longer than the bytes at hand.
    pub(super) wants: Option<usize>,
    /// The following bytes are not a batch, or are damaged.
    pub(super) broken: bool,
}

/// Reads complete batches up to the limits from `bytes`, which lie at `at` in their segment.
pub(super) fn batches(bytes: &[u8], at: u64, magic: u64, limits: Limits) -> Batches {
    let mut read = Batches::default();
    let mut events = 0;
    while read.len < bytes.len() {
        let rest = &bytes[read.len..];
        let Some(header) = BatchHeader::decode(rest, magic) else {
            read.broken = rest.len() >= BatchHeader::LEN;
            read.wants = (!read.broken).then_some(BatchHeader::LEN);
            return read;
        };
        let len = usize::try_from(header.len()).unwrap_or(usize::MAX);
        let Some(batch) = rest.get(..len) else {
            read.wants = Some(len);
            return read;
        };
        let Some(table) = table(batch, &header, at + read.len as u64) else {
            read.broken = true;
            return read;
        };
        let in_batch: u64 = table
            .iter()
            .filter(|entry| entry.is_events())
            .map(BlockEntry::count)
            .sum();
        let full = events + in_batch > limits.events || read.len + len > limits.bytes;
        if full && read.len > 0 {
            return read;
        }
        for entry in &table {
            // Within the batch: `table` has checked it.
            let start = usize::try_from(entry.offset() - at).unwrap_or(usize::MAX);
            read.blocks.push(Block {
                entry: *entry,
                payload: Some(start..start + entry.len()),
            });
        }
        events += in_batch;
        read.len += len;
        read.check = table_check(&table);
    }
    read
}

/// Returns the table of a batch if all its bytes are undamaged.
fn table(batch: &[u8], header: &BatchHeader, at: u64) -> Option<Vec<BlockEntry>> {
    use zerocopy::FromBytes as _;

    let blocks = header.blocks() as usize;
    let tables = batch.get(BatchHeader::LEN..)?;
    let (table, _) = <[BlockEntry]>::ref_from_prefix_with_elems(tables, blocks).ok()?;
    let mut next = BatchHeader::payloads_at(at, header.blocks());
    for (nth, entry) in (0..header.blocks()).zip(table) {
        let here = entry.is_whole()
            && entry.offset() == next
            && entry.nth() == nth
            && entry.of() == header.blocks();
        let start = usize::try_from(entry.offset().checked_sub(at)?).ok()?;
        let payload = batch.get(start..start.checked_add(entry.len())?)?;
        if !here || !entry.owns(payload) {
            return None;
        }
        next = entry.end();
    }
    (next == at + header.len()).then(|| table.to_vec())
}
