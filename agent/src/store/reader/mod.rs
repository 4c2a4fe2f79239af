//! Reads the spool from the centre's position on, while the writer appends, without a lock.
//!
//! It reads batch after batch from the segment itself. The index is used only where the segment is
//! damaged, for entries before the position, and to find the batch around a position.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use vctl_common::id::BootId;
use vctl_common::spool::{
    BatchHeader, BlockEntry, FileHeader, FileKind, Look, Segment, SegmentFiles, SpoolReadError,
    Unloaded, journal_lines, list, payload, table_check,
};

use super::chunk::{Batches, Block, Chunk, Limits, batches};
use super::journal::Sessions;
use crate::spool::{Durable, Position};

/// The spool, from the shipper's side.
#[derive(Debug)]
pub(super) struct Reader {
    dir: PathBuf,
    /// Boot id for data without one: a segment whose header is unreadable.
    boot_id: BootId,
    open: Option<Open>,
    pub(super) sessions: Sessions,
    /// The segment of these sessions.
    sessions_of: u64,
}

#[derive(Debug)]
struct Open {
    files: SegmentFiles,
    file: File,
    /// `None` for a damaged header.
    header: Option<FileHeader>,
}

/// Result of looking for a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// Shipping continues there.
    Here,
    /// This spool has no such position: it was deleted, or restored from a copy, since it was
    /// shipped.
    Elsewhere,
}

impl Reader {
    pub(super) fn new(dir: &Path, boot_id: BootId) -> Self {
        Self {
            dir: dir.to_owned(),
            boot_id,
            open: None,
            sessions: Sessions::default(),
            sessions_of: 0,
        }
    }

    /// Prepares to read from `at` on, and finds the sessions of the events that follow.
    ///
    /// # Errors
    /// A segment cannot be read at all, or was written by a newer agent.
    pub(super) fn seek(
        &mut self,
        at: Position,
        durable: Durable,
    ) -> Result<Sought, SpoolReadError> {
        self.sessions.clear();
        self.sessions_of = at.segment;
        self.open = None;
        if (at.segment, at.offset) > (durable.segment, durable.end) {
            return Ok(Sought::Elsewhere);
        }
        let Some(files) = self.files(at.segment, durable)? else {
            // The segment was dropped after it was shipped; the remaining ones follow it.
            return Ok(Sought::Here);
        };
        let Ok(segment) = Segment::load(&files, Look::Index, Vec::new())? else {
            return Ok(Sought::Here);
        };
        let before: Vec<_> = segment
            .entries()
            .iter()
            .filter(|entry| entry.end() <= at.offset)
            .copied()
            .collect();
        let last = before.iter().rposition(|entry| entry.nth() == 0);
        let table = &before[last.unwrap_or(0)..];
        let ends_here = table.last().is_some_and(|e| e.end() == at.offset);
        if at.check != 0 && !(ends_here && table_check(table) == at.check) {
            return Ok(Sought::Elsewhere);
        }
        let failed = |source| read_error(&files.segment, source);
        let file = match segment.open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Sought::Here),
            Err(source) => return Err(failed(source)),
        };
        for entry in before.iter().filter(|entry| entry.is_journal()) {
            let Some(payload) = payload(&file, entry).map_err(failed)? else {
                continue;
            };
            for line in journal_lines(entry.kind(), &payload).flatten() {
                let boot_id = line.boot_id.unwrap_or(segment.header.boot_id());
                self.sessions
                    .learn(&line.entry, boot_id, entry.wall_offset());
            }
        }
        Ok(Sought::Here)
    }

    /// Returns the data after `from`, which is the end of the last chunk or the result of `seek`.
    /// `None` when there is no data yet that may be shipped.
    ///
    /// # Errors
    /// As `seek`.
    pub(super) fn next(
        &mut self,
        from: Position,
        durable: Durable,
        limits: Limits,
    ) -> Result<Option<Chunk>, SpoolReadError> {
        let boot_id = self.boot_id;
        let mut number = from.segment;
        loop {
            if let Some(open) = self.open(number, durable)? {
                let begin = FileHeader::LEN as u64;
                let start = if number == from.segment {
                    from.offset.max(begin)
                } else {
                    begin
                };
                let read = if start < open.files.len {
                    open.read(from, start, limits, boot_id)?
                } else {
                    None
                };
                if let Some((chunk, journal)) = read {
                    if self.sessions_of != number {
                        self.sessions.next_segment();
                        self.sessions_of = number;
                    }
                    self.sessions.learn_blocks(&chunk, &journal);
                    return Ok(Some(chunk));
                }
            }
            let listing = list(&self.dir)?;
            let later =
                |files: &&SegmentFiles| (number + 1..=durable.segment).contains(&files.number);
            match listing.segments.iter().find(later) {
                Some(files) => number = files.number,
                None => return Ok(None),
            }
        }
    }

    /// Opens the segment unless it is open, and updates its length; `None` when it no longer
    /// exists.
    fn open(&mut self, number: u64, durable: Durable) -> Result<Option<&mut Open>, SpoolReadError> {
        if self.open.as_ref().is_none_or(|o| o.files.number != number) {
            self.open = None;
            let files = SegmentFiles::new(&self.dir, number);
            let file = match File::open(&files.segment) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(read_error(&files.segment, source)),
            };
            let mut head = [0; FileHeader::LEN];
            let header = match file.read_exact_at(&mut head, 0) {
                Ok(()) => FileHeader::decode(&head, FileKind::Segment).ok(),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                Err(source) => return Err(read_error(&files.segment, source)),
            };
            self.open = Some(Open {
                header: header.filter(|header| header.number() == number),
                files,
                file,
            });
        }
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        open.files.len = if number == durable.segment {
            durable.end
        } else {
            let meta = open.file.metadata();
            meta.map_err(|source| read_error(&open.files.segment, source))?
                .len()
        };
        Ok(Some(open))
    }

    fn files(&self, number: u64, durable: Durable) -> Result<Option<SegmentFiles>, SpoolReadError> {
        let listing = list(&self.dir)?;
        let files = listing.segments.into_iter().find(|f| f.number == number);
        Ok(files.map(|mut files| {
            if number == durable.segment {
                files.len = durable.end;
            }
            files
        }))
    }
}

impl Open {
    /// Reads a chunk, and the journal of the batch that it is a part of.
    fn read(
        &self,
        from: Position,
        start: u64,
        limits: Limits,
        boot_id: BootId,
    ) -> Result<Option<(Chunk, Vec<Block>)>, SpoolReadError> {
        if let Some(header) = self.header {
            let (mut bytes, mut read) = self.batches(start, start, &header, limits)?;
            if read.broken
                && read.blocks.is_empty()
                && let Some(begin) = self.batch_around(start)?
            {
                (bytes, read) = self.batches(begin, start, &header, limits)?;
            }
            if !read.blocks.is_empty() {
                let chunk = Chunk {
                    from,
                    to: Position {
                        segment: self.files.number,
                        offset: read.end,
                        check: read.check,
                    },
                    boot_id: header.boot_id(),
                    bytes,
                    blocks: read.blocks,
                    unreadable: Vec::new(),
                };
                return Ok(Some((chunk, read.journal)));
            }
        }
        let chunk = self.read_damaged(from, start, limits, boot_id)?;
        Ok(chunk.map(|chunk| (chunk, Vec::new())))
    }

    /// Returns the beginning of the batch that has a block at `start`, and another one before.
    fn batch_around(&self, start: u64) -> Result<Option<u64>, SpoolReadError> {
        let Ok(segment) = Segment::load(&self.files, Look::Index, Vec::new())? else {
            return Ok(None);
        };
        let entries = segment.entries();
        let Some(here) = entries.iter().position(|entry| entry.offset() == start) else {
            return Ok(None);
        };
        let first = entries[..here].iter().rfind(|entry| entry.nth() == 0);
        Ok(first
            .filter(|_| entries[here].nth() != 0)
            .and_then(BlockEntry::batch_at))
    }

    fn batches(
        &self,
        begin: u64,
        from: u64,
        header: &FileHeader,
        limits: Limits,
    ) -> Result<(Vec<u8>, Batches), SpoolReadError> {
        let rest = usize::try_from(self.files.len - begin).unwrap_or(usize::MAX);
        let mut window = rest.min(limits.bytes + BatchHeader::LEN);
        loop {
            let mut bytes = vec![0; window];
            self.file
                .read_exact_at(&mut bytes, begin)
                .or_else(|error| match error.kind() {
                    // The file ends after the durable position; the bytes after that are not a
                    // batch.
                    io::ErrorKind::UnexpectedEof => Ok(()),
                    _ => Err(read_error(&self.files.segment, error)),
                })?;
            let read = batches(&bytes, begin, from, header.batch_magic(), limits);
            match read.wants {
                Some(wants) if read.blocks.is_empty() && window < wants && wants <= rest => {
                    window = wants;
                }
                _ => return Ok((bytes, read)),
            }
        }
    }

    /// Reads the undamaged part of a segment and reports the damaged part.
    fn read_damaged(
        &self,
        from: Position,
        start: u64,
        limits: Limits,
        boot_id: BootId,
    ) -> Result<Option<Chunk>, SpoolReadError> {
        let end = Position {
            segment: self.files.number,
            offset: self.files.len,
            check: 0,
        };
        let mut chunk = Chunk {
            from,
            to: end,
            boot_id,
            bytes: Vec::new(),
            blocks: Vec::new(),
            unreadable: Vec::new(),
        };
        let segment = match Segment::load(&self.files, Look::Index, Vec::new())? {
            Ok(segment) => segment,
            // Created but empty: it has never had data.
            Err(Unloaded::Gone) => return Ok(None),
            Err(Unloaded::Damaged(gap)) => {
                chunk.unreadable.push(gap);
                return Ok(Some(chunk));
            }
        };
        chunk.boot_id = segment.header.boot_id();
        chunk.unreadable.clone_from(&segment.damage);
        let mut events = 0;
        for entry in segment.entries().iter().filter(|e| e.offset() >= start) {
            let full = events >= limits.events || chunk.bytes.len() >= limits.bytes;
            if full {
                chunk.to.offset = entry.batch_at().unwrap_or(entry.offset());
                break;
            }
            events += if entry.is_events() { entry.count() } else { 0 };
            chunk.take(&self.files, &self.file, entry)?;
        }
        // An incomplete batch at the end was never stored.
        let is_something = !chunk.blocks.is_empty() || !chunk.unreadable.is_empty();
        Ok(is_something.then_some(chunk))
    }
}

impl Chunk {
    fn take(
        &mut self,
        files: &SegmentFiles,
        file: &File,
        entry: &BlockEntry,
    ) -> Result<(), SpoolReadError> {
        let read = payload(file, entry).map_err(|source| read_error(&files.segment, source))?;
        let payload = read.map(|payload| {
            let start = self.bytes.len();
            self.bytes.extend_from_slice(&payload);
            start..self.bytes.len()
        });
        self.blocks.push(Block {
            entry: *entry,
            payload,
        });
        Ok(())
    }
}

fn read_error(path: &Path, source: io::Error) -> SpoolReadError {
    SpoolReadError::Read {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
