//! Reads the block entries from the bytes of a segment, damaged or not.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::FromBytes;

use super::block::{BatchHeader, BlockEntry, RingPosition};
use super::header::FileHeader;
use crate::session::{Gap, GapCause};
use crate::time::BootNs;

/// Content of a segment's batches, from an offset on.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub entries: Vec<BlockEntry>,
    /// End of the last complete batch, where the next one is written.
    pub end: u64,
    /// Ring position in the last batch with an undamaged header.
    pub ring: Option<RingPosition>,
    /// Unreadable data of unknown sessions.
    pub damage: Vec<Gap>,
    /// `end` is followed by the beginning of a batch: it was never finished, or is being written.
    pub torn: bool,
    pub bytes_read: u64,
}

impl Scan {
    /// Returns whether the bytes from `end` on are not even the beginning of a batch.
    pub(super) fn spoiled(&self, len: u64) -> bool {
        self.end < len && !self.torn
    }
}

/// Returns how many entries, from the first, follow each other without a gap and end with a batch
/// within the first `len` bytes of the segment, and the end of that batch.
pub(super) fn proven(entries: &[BlockEntry], mut end: u64, len: u64) -> (usize, u64) {
    let mut whole = (0, end);
    let mut batch: Option<&BlockEntry> = None;
    for (i, entry) in entries.iter().enumerate() {
        let follows = match batch {
            None => entry.batch_at() == Some(end),
            Some(last) => {
                entry.offset() == end
                    && entry.of() == last.of()
                    && entry.nth().checked_sub(1) == Some(last.nth())
            }
        };
        if !follows || !entry.is_whole() || entry.end() > len {
            break;
        }
        end = entry.end();
        batch = Some(entry);
        if entry.is_last() {
            whole = (i + 1, end);
            batch = None;
        }
    }
    whole
}

/// Reads the headers and tables of `segment` from `start`, where a batch begins, up to `len`.
///
/// `known` are undamaged entries of its index, but maybe not all. They replace entries that are
/// damaged here.
///
/// # Errors
/// Only errors of the file. Bytes that are not a batch are skipped and reported in the result.
pub(super) fn scan(
    segment: &File,
    len: u64,
    header: &FileHeader,
    start: u64,
    known: &[BlockEntry],
) -> io::Result<Scan> {
    let mut known: Vec<_> = known.iter().filter(|e| e.is_whole()).copied().collect();
    known.sort_unstable_by_key(BlockEntry::offset);
    let mut scanner = Scanner {
        segment,
        len,
        magic: header.batch_magic(),
        known,
        result: Scan {
            end: start,
            ..Scan::default()
        },
        last_at: BootNs(0),
        damaged_from: None,
    };
    match scanner.run() {
        // The agent has just removed the rest of a batch that it could not write.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => scanner.result.torn = true,
        done => done?,
    }
    Ok(scanner.finish())
}

struct Scanner<'a> {
    segment: &'a File,
    len: u64,
    magic: u64,
    known: Vec<BlockEntry>,
    result: Scan,
    last_at: BootNs,
    damaged_from: Option<BootNs>,
}

/// Result of reading one batch.
enum Batch {
    /// The batch ends here.
    Read { end: u64 },
    /// The batch ends after the end of the file.
    Torn,
    /// No batch was found before this offset.
    Lost { search_from: u64 },
}

impl Scanner<'_> {
    fn run(&mut self) -> io::Result<()> {
        let mut at = self.result.end;
        while at < self.len {
            match self.batch(at)? {
                Batch::Read { end } => {
                    self.result.end = end;
                    at = end;
                }
                Batch::Torn => {
                    self.result.torn = true;
                    return Ok(());
                }
                Batch::Lost { search_from } => {
                    self.damaged();
                    match self.next_batch(search_from)? {
                        Some(next) => at = next,
                        None => return Ok(()),
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Scan {
        self.close_damage(BootNs(u64::MAX));
        self.result
    }

    fn read(&mut self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.segment.read_exact_at(&mut bytes, at)?;
        self.result.bytes_read += len as u64;
        Ok(bytes)
    }

    fn batch(&mut self, at: u64) -> io::Result<Batch> {
        if self.len - at < BatchHeader::LEN as u64 {
            return Ok(Batch::Torn);
        }
        let bytes = self.read(at, BatchHeader::LEN)?;
        let header = BatchHeader::decode(&bytes, self.magic);
        let lost = Batch::Lost {
            search_from: at + 1,
        };
        let blocks = match &header {
            Some(header) => Some(header.blocks()),
            None => self.blocks_without_header(at)?,
        };
        let Some(blocks) = blocks else {
            return Ok(lost);
        };
        let mut next = BatchHeader::payloads_at(at, blocks);
        let batch_end = header.map(|header| at + header.len());
        if next > self.len || batch_end.is_some_and(|end| end > self.len) {
            return Ok(Batch::Torn);
        }
        let table_len = blocks as usize * BlockEntry::LEN;
        let bytes = self.read(at + BatchHeader::LEN as u64, table_len)?;
        let Ok(table) = <[BlockEntry]>::ref_from_bytes(&bytes) else {
            return Ok(lost);
        };
        let first = self.result.entries.len();
        for nth in 0..blocks {
            let here = |e: &BlockEntry| e.offset() == next && e.nth() == nth && e.of() == blocks;
            let written = table.get(nth as usize).filter(|e| e.is_whole() && here(e));
            let entry = written.or_else(|| self.known_at(next).filter(|e| here(e)));
            if let Some(entry) = entry.copied() {
                if entry.end() > self.len {
                    self.result.entries.truncate(first);
                    return Ok(Batch::Torn);
                }
                next = entry.end();
                self.found(entry);
                continue;
            }
            self.damaged();
            let following = table.get(nth as usize + 1);
            match following.filter(|e| e.is_whole() && e.offset() >= next) {
                Some(following) => next = following.offset(),
                None => match batch_end {
                    Some(end) => next = end,
                    None => return Ok(Batch::Lost { search_from: next }),
                },
            }
        }
        self.result.ring = header.and_then(|header| header.ring()).or(self.result.ring);
        Ok(Batch::Read {
            end: batch_end.unwrap_or(next),
        })
    }

    /// Returns the number of blocks of a batch with a damaged header; its first entry holds it as
    /// well.
    fn blocks_without_header(&mut self, at: u64) -> io::Result<Option<u32>> {
        let table = at + BatchHeader::LEN as u64;
        if self.len - table >= BlockEntry::LEN as u64 {
            let bytes = self.read(table, BlockEntry::LEN)?;
            let entry = BlockEntry::read_from_bytes(&bytes).ok();
            let first = entry.filter(|e| e.is_whole() && e.batch_at() == Some(at));
            if let Some(first) = first {
                return Ok(Some(first.of()));
            }
        }
        let known = self.known.iter().find(|e| e.batch_at() == Some(at));
        Ok(known.map(BlockEntry::of))
    }

    fn known_at(&self, offset: u64) -> Option<&BlockEntry> {
        let at = self
            .known
            .binary_search_by_key(&offset, BlockEntry::offset)
            .ok()?;
        self.known.get(at)
    }

    /// Finds the beginning of the next batch, by its magic number or by the index.
    fn next_batch(&mut self, from: u64) -> io::Result<Option<u64>> {
        let known = self
            .known
            .iter()
            .filter_map(BlockEntry::batch_at)
            .find(|at| *at >= from);
        let magic = self.magic.to_le_bytes();
        let mut at = from;
        while at + BatchHeader::LEN as u64 <= self.len && known.is_none_or(|known| at < known) {
            let window = usize::try_from(self.len - at).unwrap_or(usize::MAX);
            let bytes = self.read(at, window.min(SEARCH_WINDOW))?;
            for (i, candidate) in bytes.windows(BatchHeader::LEN).enumerate() {
                if candidate.starts_with(&magic)
                    && BatchHeader::decode(candidate, self.magic).is_some()
                {
                    let found = at + i as u64;
                    return Ok(Some(known.map_or(found, |known| known.min(found))));
                }
            }
            at += (bytes.len() - BatchHeader::LEN + 1) as u64;
        }
        Ok(known)
    }

    fn found(&mut self, entry: BlockEntry) {
        // Carried entries may be of another boot, and its clock does not apply here.
        if !entry.is_carried() {
            self.close_damage(entry.first_at());
            self.last_at = self.last_at.max(entry.last_at());
        }
        self.result.entries.push(entry);
    }

    fn damaged(&mut self) {
        self.damaged_from.get_or_insert(self.last_at);
    }

    fn close_damage(&mut self, to: BootNs) {
        if let Some(from) = self.damaged_from.take() {
            self.result.damage.push(unreadable(from, to.max(from)));
        }
    }
}

const SEARCH_WINDOW: usize = 64 * 1024;

/// Returns the gap for unreadable data of an unknown session.
pub(super) fn unreadable(from: BootNs, to: BootNs) -> Gap {
    Gap::new(GapCause::SpoolDamaged, None, from, to)
}
