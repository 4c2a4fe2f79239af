//! The segment that is being written, and its index.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::SystemTime;

use vctl_common::spool::{BlockEntry, BlockKind, FileHeader, FileKind, Segment, SegmentFiles};
use vctl_common::wire::Mark;

use super::disk::Disk;

#[derive(Debug)]
pub(super) struct Active {
    pub(super) files: SegmentFiles,
    pub(super) header: FileHeader,
    segment: File,
    index: File,
    /// End of the last batch, where the next one begins.
    pub(super) end: u64,
    /// End of the head: the entries of earlier segments, with which a segment begins.
    pub(super) head_end: u64,
    /// Parts of a failed batch may lie behind `end`.
    overrun: bool,
    index_end: u64,
    /// Entries that are not in the index yet. The index may be behind, but has no holes.
    pending: Vec<u8>,
    pub(super) dirty: bool,
    /// Bytes of events in it, by session.
    pub(super) with_events: HashMap<Mark, u64>,
    /// Bytes of journal entries in it, by session: without the head.
    pub(super) with_journal: HashMap<Mark, u64>,
    /// Sessions with journal entries in it.
    pub(super) named: HashSet<Mark>,
    /// Time of its last event.
    pub(super) last_at: Option<SystemTime>,
}

/// Returns the time of the last event of a list. Copied events do not count: they are older.
pub(super) fn last_wall(table: &[BlockEntry]) -> Option<SystemTime> {
    table
        .iter()
        .filter(|entry| entry.kind() != Some(BlockKind::CarriedJournal))
        .map(|entry| entry.wall_offset().wall_time(entry.last_at()))
        .max()
}

/// Returns the bytes that a block takes, its two entries included.
pub(super) fn disk_bytes(entry: &BlockEntry) -> u64 {
    (entry.len() + 2 * BlockEntry::LEN) as u64
}

impl Active {
    /// Creates the two files of a new segment; on failure neither is left.
    pub(super) fn create(
        disk: &mut impl Disk,
        dir: &Path,
        files: &SegmentFiles,
        header: &FileHeader,
    ) -> io::Result<Self> {
        let created = Self::try_create(disk, dir, files, header);
        if created.is_err() {
            // Left behind they do no harm: a file shorter than a header is not a segment yet.
            let _ = disk.remove(&files.segment);
            let _ = disk.remove(&files.index);
        }
        created
    }

    fn try_create(
        disk: &mut impl Disk,
        dir: &Path,
        files: &SegmentFiles,
        header: &FileHeader,
    ) -> io::Result<Self> {
        let segment = disk.create(&files.segment)?;
        disk.write_all_at(&segment, &header.encode(FileKind::Segment), 0)?;
        let index = disk.create(&files.index)?;
        disk.write_all_at(&index, &header.encode(FileKind::Index), 0)?;
        disk.sync(&segment)?;
        disk.sync_dir(dir)?;
        Ok(Self {
            files: files.clone(),
            header: *header,
            segment,
            index,
            end: FileHeader::LEN as u64,
            head_end: FileHeader::LEN as u64,
            overrun: false,
            index_end: FileHeader::LEN as u64,
            pending: Vec::new(),
            dirty: false,
            with_events: HashMap::new(),
            with_journal: HashMap::new(),
            named: HashSet::new(),
            last_at: None,
        })
    }

    /// Continues a segment with a repaired index.
    pub(super) fn resume(disk: &mut impl Disk, loaded: &Segment) -> io::Result<Self> {
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        let segment = open(&loaded.files.segment)?;
        if loaded.end < loaded.files.len {
            disk.truncate(&segment, loaded.end)?;
        }
        let mut active = Self {
            files: loaded.files.clone(),
            header: loaded.header,
            segment,
            index: open(&loaded.files.index)?,
            end: loaded.end,
            head_end: head_end(loaded),
            overrun: false,
            index_end: loaded.index_bytes().len() as u64,
            pending: Vec::new(),
            // The writes of an earlier process may not be durable yet.
            dirty: true,
            with_events: HashMap::new(),
            with_journal: HashMap::new(),
            named: HashSet::new(),
            last_at: None,
        };
        active.note(loaded.entries());
        Ok(active)
    }

    /// Writes one batch. After a failure the segment is as before, at the latest before the next write.
    pub(super) fn append(
        &mut self,
        disk: &mut impl Disk,
        batch: &[u8],
        table: &[BlockEntry],
    ) -> io::Result<()> {
        if self.overrun {
            disk.truncate(&self.segment, self.end)?;
            self.overrun = false;
        }
        if let Err(error) = disk.write_all_at(&self.segment, batch, self.end) {
            self.overrun = disk.truncate(&self.segment, self.end).is_err();
            return Err(error);
        }
        self.end += batch.len() as u64;
        self.dirty = true;
        self.note(table);
        self.pending.extend_from_slice(BlockEntry::encoded(table));
        self.write_index(disk);
        Ok(())
    }

    /// Ends the head: everything so far is a copy that the next segment does not need.
    pub(super) fn end_head(&mut self) {
        self.head_end = self.end;
        self.with_journal.clear();
    }

    /// Returns the bytes of each session, without the head.
    pub(super) fn shares(&self) -> HashMap<Mark, u64> {
        let mut shares = self.with_events.clone();
        for (mark, bytes) in &self.with_journal {
            *shares.entry(*mark).or_default() += bytes;
        }
        shares
    }

    fn note(&mut self, table: &[BlockEntry]) {
        for entry in table {
            if entry.is_events() {
                *self.with_events.entry(entry.mark()).or_default() += disk_bytes(entry);
            } else {
                self.named.insert(entry.mark());
                if entry.mark() != 0 && entry.offset() >= self.head_end {
                    *self.with_journal.entry(entry.mark()).or_default() += disk_bytes(entry);
                }
            }
        }
        self.last_at = self.last_at.max(last_wall(table));
    }

    /// The batch is safe without the index: readers take missing entries from the segment.
    fn write_index(&mut self, disk: &mut impl Disk) {
        if disk
            .write_all_at(&self.index, &self.pending, self.index_end)
            .is_ok()
        {
            self.index_end += self.pending.len() as u64;
            self.pending.clear();
        }
    }

    pub(super) fn sync(&mut self, disk: &mut impl Disk) -> io::Result<()> {
        if self.dirty {
            disk.sync(&self.segment)?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Makes the index durable too, if that works.
    pub(super) fn seal(&mut self, disk: &mut impl Disk) -> io::Result<()> {
        if self.overrun {
            self.overrun = disk.truncate(&self.segment, self.end).is_err();
        }
        if !self.pending.is_empty() {
            self.write_index(disk);
        }
        let synced = self.sync(disk);
        let _ = disk.sync(&self.index);
        synced
    }

    pub(super) fn bytes(&self) -> u64 {
        self.end + self.index_end
    }

    /// Returns whether a batch of `more` bytes belongs into the next segment. Each segment holds at least as much
    /// after its head as the head has: heads take at most half of the spool, however many sessions are open.
    pub(super) fn is_full(&self, more: u64, segment_bytes: u64) -> bool {
        let head = self.head_end - FileHeader::LEN as u64;
        let content = self.end - self.head_end;
        content > 0 && self.end + more > segment_bytes && content + more > head
    }
}

/// Returns the end of the batches of copied journal entries with which a segment begins.
pub(super) fn head_end(segment: &Segment) -> u64 {
    let entries = segment.entries().iter();
    let head = entries.take_while(|entry| entry.kind() == Some(BlockKind::CarriedJournal));
    head.last().map_or(FileHeader::LEN as u64, BlockEntry::end)
}
