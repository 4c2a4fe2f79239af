//! The content of one call of the ingest function: some batches of one segment. No I/O.

use std::ops::Range;

use vctl_common::id::BootId;
use vctl_common::session::Gap;
use vctl_common::spool::{BatchHeader, BlockEntry, BlockKind, table_check};
use vctl_common::time::WallOffset;

use crate::spool::Position;

/// Limits of one call. A batch that is larger is cut between two blocks; a single block may be larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) events: u64,
    pub(super) bytes: usize,
}

/// Most blocks of one call: a message names a session for each of them.
const MOST_BLOCKS: usize = 4096;

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

    /// Returns the bytes of all payloads.
    pub(super) fn payload_bytes(&self) -> usize {
        let payloads = self.blocks.iter().filter_map(|block| block.payload.clone());
        payloads.map(|payload| payload.len()).sum()
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
    /// End of the last block in the segment.
    pub(super) end: u64,
    /// Check number of the last batch, up to that block.
    pub(super) check: u32,
    /// All journal blocks of a batch that was cut: they name the sessions of each of its parts.
    pub(super) journal: Vec<Block>,
    /// Length of the next batch, when it is longer than the bytes at hand.
    pub(super) wants: Option<usize>,
    /// The following bytes are not a batch, or are damaged.
    pub(super) broken: bool,
}

/// Reads batches up to the limits from `bytes`, which lie at `at` in their segment. Blocks before `from` are left out; it
/// is in the first batch.
pub(super) fn batches(bytes: &[u8], at: u64, from: u64, magic: u64, limits: Limits) -> Batches {
    let mut read = Batches {
        end: from,
        ..Batches::default()
    };
    let (mut len, mut events) = (0, 0);
    while len < bytes.len() {
        let rest = &bytes[len..];
        let Some(header) = BatchHeader::decode(rest, magic) else {
            read.broken = rest.len() >= BatchHeader::LEN;
            read.wants = (!read.broken).then_some(BatchHeader::LEN);
            return read;
        };
        let batch_len = usize::try_from(header.len()).unwrap_or(usize::MAX);
        let Some(batch) = rest.get(..batch_len) else {
            read.wants = Some(batch_len);
            return read;
        };
        let begin = at + len as u64;
        let Some(table) = table(batch, &header, begin) else {
            read.broken = true;
            return read;
        };
        let skip = table.iter().filter(|entry| entry.end() <= from).count();
        let new = &table[skip..];
        let in_batch: u64 = new.iter().map(events_of).sum();
        let used = usize::try_from(begin.max(from) - from).unwrap_or(usize::MAX);
        let size = usize::try_from(begin + header.len() - begin.max(from)).unwrap_or(usize::MAX);
        let full = events + in_batch > limits.events
            || used.saturating_add(size) > limits.bytes
            || read.blocks.len() + new.len() > MOST_BLOCKS;
        if full && !read.blocks.is_empty() {
            return read;
        }
        let take = if full { part(new, limits) } else { new.len() };
        // Within the batch: `table` has checked it.
        let block = |entry: &BlockEntry| {
            let start = usize::try_from(entry.offset() - at).unwrap_or(usize::MAX);
            Block {
                entry: *entry,
                payload: Some(start..start + entry.len()),
            }
        };
        read.blocks.extend(new[..take].iter().map(block));
        events += in_batch;
        len += batch_len;
        read.check = table_check(&table[..skip + take]);
        if take < new.len() {
            read.end = new[take].offset();
            let journal = table.iter().filter(|entry| entry.is_journal());
            read.journal = journal.map(block).collect();
            return read;
        }
        read.end = begin + header.len();
    }
    read
}

fn events_of(entry: &BlockEntry) -> u64 {
    if entry.is_events() { entry.count() } else { 0 }
}

/// Returns how many blocks of a batch fit into one call, at least one.
fn part(blocks: &[BlockEntry], limits: Limits) -> usize {
    let (mut events, mut bytes) = (0, 0);
    let fits = |(n, entry): &(usize, &BlockEntry)| {
        events += events_of(entry);
        bytes += entry.len() + BlockEntry::LEN;
        *n == 0 || (events <= limits.events && bytes <= limits.bytes && *n < MOST_BLOCKS)
    };
    blocks.iter().enumerate().take_while(fits).count()
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
