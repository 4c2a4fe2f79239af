//! One segment with its index, loaded for reading.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use zerocopy::{FromBytes, IntoBytes};

use super::block::{BlockEntry, RingPosition};
use super::dir::SegmentFiles;
use super::error::SpoolReadError;
use super::header::{FileHeader, FileKind, HeaderError};
use super::scan::{Scan, proven, scan, unreadable};
use crate::session::Gap;
use crate::time::BootNs;

/// The entries of all blocks of a segment, for access to their payloads.
#[derive(Debug)]
pub struct Segment {
    pub files: SegmentFiles,
    pub header: FileHeader,
    /// The index as it was read, or its replacement; it begins with the header.
    index: Vec<u8>,
    /// End of the last complete batch.
    pub end: u64,
    /// The index on disk is the loaded one; otherwise it has to be written again.
    pub index_is_whole: bool,
    /// The header is damaged, or the tail is not even the beginning of a batch. Nothing may be
    /// appended.
    pub spoiled: bool,
    /// Ring position, if the last batches had to be scanned.
    pub ring: Option<RingPosition>,
    /// Unreadable data of unknown sessions.
    pub damage: Vec<Gap>,
    pub bytes_read: u64,
}

/// A segment without usable entries.
#[derive(Debug)]
pub enum Unloaded {
    /// Just created, or dropped by the agent a moment ago.
    Gone,
    /// Neither the segment nor its index has a usable header.
    Damaged(Gap),
}

/// Parts of a segment to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// The index, and the part of the segment that the index does not cover.
    Index,
    /// Also all tables in the segment, so that `ring` and `spoiled` are known.
    Tables,
}

impl Segment {
    /// Reads a segment up to its length at the time of the listing.
    ///
    /// `buffer` becomes the segment's memory, and [`Segment::into_buffer`] returns it: page faults
    /// of new memory cost several times as much as reading an index.
    ///
    /// # Errors
    /// The file cannot be read, or was written by a newer vctl.
    pub fn load(
        files: &SegmentFiles,
        look: Look,
        buffer: Vec<u8>,
    ) -> Result<Result<Self, Unloaded>, SpoolReadError> {
        let len = files.len;
        let mut index = buffer;
        read_index(files, &mut index)?;
        let mut bytes_read = index.len() as u64;
        let index_header = match FileHeader::decode(&index, FileKind::Index) {
            Err(HeaderError::Newer { version }) => {
                return Err(SpoolReadError::newer(&files.index, version));
            }
            // A file with another name than its header is not trusted either.
            header => header.ok().filter(|h| h.number() == files.number),
        };
        if index.len() < FileHeader::LEN {
            index.resize(FileHeader::LEN, 0);
        }
        let (count, end) = match index_header {
            Some(_) => proven(whole_entries(&index), FileHeader::LEN as u64, len),
            None => (0, FileHeader::LEN as u64),
        };
        let proven_bytes = FileHeader::LEN + count * BlockEntry::LEN;
        let index_is_whole = index_header.is_some() && end == len;
        if let Some(header) = index_header.filter(|_| index_is_whole && look == Look::Index) {
            // The agent may have appended to the index since.
            index.truncate(proven_bytes);
            return Ok(Ok(Self {
                files: files.clone(),
                header,
                index,
                end,
                index_is_whole,
                spoiled: false,
                ring: None,
                damage: Vec::new(),
                bytes_read,
            }));
        }

        let failed = |source| SpoolReadError::read(&files.segment, source);
        let segment = match File::open(&files.segment) {
            Ok(segment) => segment,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(Unloaded::Gone));
            }
            Err(source) => return Err(failed(source)),
        };
        let mut head = vec![0; FileHeader::LEN.min(usize::try_from(len).unwrap_or(usize::MAX))];
        match segment.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok(Err(Unloaded::Gone));
            }
            read => read.map_err(failed)?,
        }
        let (header, header_damaged) =
            match (FileHeader::decode(&head, FileKind::Segment), index_header) {
                (Ok(header), _) if header.number() == files.number => (header, false),
                (Err(HeaderError::Newer { version }), _) => {
                    return Err(SpoolReadError::newer(&files.segment, version));
                }
                (Err(HeaderError::Short), _) => return Ok(Err(Unloaded::Gone)),
                (_, Some(header)) => (header, true),
                (_, None) => {
                    let any_time = unreadable(BootNs(0), BootNs(u64::MAX));
                    return Ok(Err(Unloaded::Damaged(any_time)));
                }
            };
        let (start, kept) = match look {
            Look::Index => (end, proven_bytes),
            Look::Tables => (FileHeader::LEN as u64, FileHeader::LEN),
        };
        let rest = scan(&segment, len, &header, start, whole_entries(&index)).map_err(failed)?;
        bytes_read += head.len() as u64 + rest.bytes_read;
        let spoiled = header_damaged || rest.spoiled(len);
        let Scan {
            entries: scanned,
            end,
            ring,
            damage,
            ..
        } = rest;
        let unchanged = index_is_whole
            && index.len() == proven_bytes
            && index.get(kept..) == Some(scanned.as_bytes());
        index.truncate(kept);
        index.extend_from_slice(scanned.as_bytes());
        if let Some(head) = index.get_mut(..FileHeader::LEN) {
            head.copy_from_slice(&header.encode(FileKind::Index));
        }
        Ok(Ok(Self {
            files: files.clone(),
            header,
            index,
            end,
            index_is_whole: unchanged,
            spoiled,
            ring,
            damage,
            bytes_read,
        }))
    }

    pub fn entries(&self) -> &[BlockEntry] {
        whole_entries(&self.index)
    }

    /// Returns the bytes of a complete index of this segment.
    pub fn index_bytes(&self) -> &[u8] {
        &self.index
    }

    pub fn into_buffer(self) -> Vec<u8> {
        self.index
    }

    pub fn open(&self) -> io::Result<File> {
        File::open(&self.files.segment)
    }
}

fn read_index(files: &SegmentFiles, index: &mut Vec<u8>) -> Result<(), SpoolReadError> {
    index.clear();
    let read = File::open(&files.index).and_then(|mut file| file.read_to_end(index));
    match read {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(SpoolReadError::read(&files.index, source)),
    }
}

/// Reads the payload of a block; `None` when it is damaged.
pub fn payload(segment: &File, entry: &BlockEntry) -> io::Result<Option<Vec<u8>>> {
    // Entries are used only with a correct checksum, so this length is the agent's.
    let mut bytes = vec![0; entry.len()];
    match segment.read_exact_at(&mut bytes, entry.offset()) {
        Ok(()) => Ok(entry.owns(&bytes).then_some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the entries in `index`; an incomplete one at the end is left out.
fn whole_entries(index: &[u8]) -> &[BlockEntry] {
    let entries = index.get(FileHeader::LEN..).unwrap_or_default();
    <[BlockEntry]>::ref_from_prefix_with_elems(entries, entries.len() / BlockEntry::LEN)
        .map_or(&[], |(entries, _)| entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spool::{BatchHeader, BlockFacts, BlockKind, BlockPlace};
    use crate::time::WallOffset;

    /// Returns a segment with one batch for each item of `batches`, each of `blocks` one-byte
    /// blocks.
    fn segment(batches: u32, blocks: u32) -> (Vec<u8>, Vec<u8>) {
        let boot_id = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        let header = FileHeader::new(0, boot_id, "web-1", 99).unwrap();
        let mut segment = header.encode(FileKind::Segment).to_vec();
        let mut index = header.encode(FileKind::Index).to_vec();
        for _ in 0..batches {
            let first = BatchHeader::payloads_at(segment.len() as u64, blocks);
            let table: Vec<_> = (0..blocks)
                .map(|nth| {
                    let facts = BlockFacts {
                        kind: BlockKind::Events,
                        mark: u64::from(nth) + 1,
                        serial: None,
                        count: 1,
                        first_seq: 1,
                        last_seq: 1,
                        first_at: BootNs(1),
                        last_at: BootNs(2),
                        wall_offset: WallOffset::from_ns(0),
                    };
                    let place = BlockPlace {
                        offset: u32::try_from(first).unwrap() + nth,
                        nth,
                        of: blocks,
                    };
                    BlockEntry::new(&facts, place, b"x").unwrap()
                })
                .collect();
            let len = BatchHeader::payloads_at(0, blocks) + u64::from(blocks);
            let len = u32::try_from(len).unwrap();
            segment.extend_from_slice(BatchHeader::new(99, blocks, len, None).encoded());
            segment.extend_from_slice(BlockEntry::encoded(&table));
            segment.extend(std::iter::repeat_n(b'x', blocks as usize));
            index.extend_from_slice(BlockEntry::encoded(&table));
        }
        (segment, index)
    }

    fn load(segment: &[u8], index: &[u8], look: Look) -> Result<Segment, Unloaded> {
        let dir = tempfile::tempdir().unwrap();
        let mut files = SegmentFiles::new(dir.path(), 0);
        files.len = segment.len() as u64;
        std::fs::write(&files.segment, segment).unwrap();
        std::fs::write(&files.index, index).unwrap();
        Segment::load(&files, look, Vec::new()).unwrap()
    }

    #[test]
    fn a_whole_index_stands_for_the_segment_and_costs_no_read_of_it() {
        let (segment, index) = segment(3, 2);
        let loaded = load(&segment, &index, Look::Index).unwrap();
        assert_eq!(loaded.entries().len(), 6);
        assert_eq!(loaded.bytes_read, index.len() as u64);
    }

    #[test]
    fn an_index_with_a_removed_entry_is_not_trusted() {
        let (segment, index) = segment(3, 2);
        for entry in 0..6 {
            let at = FileHeader::LEN + entry * BlockEntry::LEN;
            let mut shorter = index.clone();
            shorter.drain(at..at + BlockEntry::LEN);
            let loaded = load(&segment, &shorter, Look::Index).unwrap();
            assert_eq!(loaded.entries().len(), 6, "without entry {entry}");
            assert!(!loaded.index_is_whole && loaded.damage.is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_entries_that_were_written_or_none(
            spoiled in proptest::collection::vec((0..1000_usize, 0..1000_usize, any::<u8>()), 0..8),
            cut in proptest::option::of(0..1200_usize),
            with_index: bool,
            all_tables: bool,
        ) {
            let (mut bytes, mut index) = segment(3, 2);
            let whole = load(&bytes, &index, Look::Index).unwrap();
            for (at, len, value) in spoiled {
                for (i, byte) in bytes.iter_mut().enumerate() {
                    if (at..at + len % 40).contains(&i) {
                        *byte = value;
                    }
                }
                if let Some(byte) = index.get_mut(at) {
                    *byte ^= value;
                }
            }
            bytes.truncate(cut.unwrap_or(bytes.len()));
            if !with_index {
                index.clear();
            }
            let look = if all_tables { Look::Tables } else { Look::Index };
            if let Ok(loaded) = load(&bytes, &index, look) {
                let mut written = whole.entries().iter();
                for entry in loaded.entries() {
                    prop_assert!(written.any(|w| w == entry), "{entry:?} was not written, or not there");
                }
            }
        }

        #[test]
        fn garbage_is_no_segment(bytes: Vec<u8>, index: Vec<u8>) {
            prop_assert!(load(&bytes, &index, Look::Tables).is_err());
        }
    }
}
