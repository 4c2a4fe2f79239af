//! What one call of the ingest function stores: some batches of one segment. Pure.

use std::ops::Range;

use vctl_common::id::BootId;
use vctl_common::session::Gap;
use vctl_common::spool::{BatchHeader, BlockEntry, BlockKind, table_check};
use vctl_common::time::WallOffset;

use crate::spool::Position;

/// How much one call takes. A single batch may be more, and goes as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) events: u64,
    pub(super) bytes: usize,
}

/// Batches on their way to the centre.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) from: Position,
    pub(super) to: Position,
    pub(super) boot_id: BootId,
    /// Holds the payloads.
    pub(super) bytes: Vec<u8>,
    pub(super) blocks: Vec<Block>,
    /// What cannot be read any more, and whose it was cannot be said.
    pub(super) unreadable: Vec<Gap>,
}

#[derive(Debug)]
pub(super) struct Block {
    pub(super) entry: BlockEntry,
    /// Where it lies in `bytes`; `None` when it is not what was written.
    pub(super) payload: Option<Range<usize>>,
}

impl Chunk {
    pub(super) fn events(&self) -> impl Iterator<Item = (&BlockEntry, &[u8])> {
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

    /// Blocks whose payload is not what was written.
    pub(super) fn damaged(&self) -> impl Iterator<Item = &BlockEntry> {
        let damaged = self.blocks.iter().filter(|block| block.payload.is_none());
        damaged.map(|block| &block.entry)
    }

    /// The clocks as they stood, for what has none of its own.
    pub(super) fn wall(&self) -> WallOffset {
        let wall = self.new_blocks().map(BlockEntry::wall_offset).next();
        wall.unwrap_or(WallOffset::from_ns(0))
    }

    /// What is in it for the first time.
    pub(super) fn new_blocks(&self) -> impl Iterator<Item = &BlockEntry> {
        let entries = self.blocks.iter().map(|block| &block.entry);
        entries.filter(|entry| entry.kind() != Some(BlockKind::CarriedJournal))
    }
}

/// Batches that were read from a segment.
#[derive(Debug, Default)]
pub(super) struct Batches {
    pub(super) blocks: Vec<Block>,
    /// Bytes of them.
    pub(super) len: usize,
    /// Of the last one.
    pub(super) check: u32,
    /// The next one needs so many bytes, more than there are.
    pub(super) wants: Option<usize>,
    /// What follows is no batch, or not what was written.
    pub(super) broken: bool,
}

/// Reads whole batches from `bytes`, which lie at `at` in their segment, up to the limits.
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
            // Inside the batch: `table` has seen to it.
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

/// Returns the table of a batch that is as it was written, every byte of it.
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
