//! One segment with its index, loaded for reading.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use zerocopy::{FromBytes, IntoBytes};

use super::dir::SegmentFiles;
use super::format::{BlockEntry, FileHeader, FileKind, HeaderError, RingPosition};
use super::reader::SpoolReadError;
use super::scan::{Scan, proven, scan, unreadable};
use crate::session::Gap;
use crate::time::BootNs;

/// The entries of all blocks of a segment, and the way to their payloads.
#[derive(Debug)]
pub struct Segment {
    pub files: SegmentFiles,
    pub header: FileHeader,
    /// Bytes of whole entries: the index as it was read, or what took its place.
    index: Vec<u8>,
    /// Where the last whole batch ends.
    pub end: u64,
    /// Bytes of the segment file when it was loaded.
    pub len: u64,
    /// The index on disk is the one that was loaded; else it has to be written anew.
    pub index_is_whole: bool,
    /// The tail is no batch and not the beginning of one: nothing may be appended.
    pub spoiled: bool,
    /// Position of the ring, when the last batches had to be scanned.
    pub ring: Option<RingPosition>,
    /// What could not be read and whose it was cannot be said.
    pub damage: Vec<Gap>,
    pub bytes_read: u64,
}

/// A segment that has no entries to give.
#[derive(Debug)]
pub enum Unloaded {
    /// Just created, or dropped by the agent a moment ago.
    Gone,
    /// Neither the segment nor its index says what it is.
    Damaged(Gap),
}

impl Segment {
    /// Reads the index of a segment, and of the segment what the index does not cover.
    ///
    /// # Errors
    /// The file cannot be read, or was written by a newer vctl.
    pub fn load(files: SegmentFiles) -> Result<Result<Self, Unloaded>, SpoolReadError> {
        Self::load_with(files, false)
    }

    /// As `load`, and reads every table of the segment, so that `ring` and `spoiled` are known.
    pub fn load_scanned(files: SegmentFiles) -> Result<Result<Self, Unloaded>, SpoolReadError> {
        Self::load_with(files, true)
    }

    fn load_with(
        files: SegmentFiles,
        scan_all: bool,
    ) -> Result<Result<Self, Unloaded>, SpoolReadError> {
        // The index first: the agent writes it last, so it never tells of more than is there.
        let mut index = match fs::read(&files.index) {
            Ok(index) => index,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(SpoolReadError::read(&files.index, source)),
        };
        let mut bytes_read = index.len() as u64;
        let index_header = match FileHeader::decode(&index, FileKind::Index) {
            Err(HeaderError::Newer { version }) => {
                return Err(SpoolReadError::newer(&files.index, version));
            }
            header => header.ok(),
        };
        index.drain(..index.len().min(FileHeader::LEN));
        let len = match fs::metadata(&files.segment) {
            Ok(meta) => meta.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(Unloaded::Gone));
            }
            Err(source) => return Err(SpoolReadError::read(&files.segment, source)),
        };
        let entries = whole_entries(&index);
        let (count, end) = match index_header {
            Some(_) => proven(entries, FileHeader::LEN as u64, len),
            None => (0, FileHeader::LEN as u64),
        };
        let index_is_whole =
            index_header.is_some() && end == len && count * BlockEntry::LEN == index.len();
        if let Some(header) = index_header.filter(|_| index_is_whole && !scan_all) {
            return Ok(Ok(Self {
                files,
                header,
                index,
                end,
                len,
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
        segment.read_exact_at(&mut head, 0).map_err(failed)?;
        let mut header_damaged = false;
        let header = match (FileHeader::decode(&head, FileKind::Segment), index_header) {
            (Ok(header), _) => header,
            (Err(HeaderError::Newer { version }), _) => {
                return Err(SpoolReadError::newer(&files.segment, version));
            }
            (Err(HeaderError::Short), _) => return Ok(Err(Unloaded::Gone)),
            (Err(HeaderError::Damaged), Some(header)) => {
                header_damaged = true;
                header
            }
            (Err(HeaderError::Damaged), None) => {
                let any_time = unreadable(BootNs(0), BootNs(u64::MAX));
                return Ok(Err(Unloaded::Damaged(any_time)));
            }
        };
        let (start, kept) = if scan_all {
            (FileHeader::LEN as u64, 0)
        } else {
            (end, count)
        };
        let rest = scan(&segment, &header, start, entries).map_err(failed)?;
        bytes_read += (head.len() as u64) + rest.bytes_read;
        let spoiled = header_damaged || rest.spoiled(len);
        let Scan {
            entries: scanned,
            end,
            ring,
            damage,
            ..
        } = rest;
        let mut rebuilt = index;
        let unchanged = index_is_whole && rebuilt == scanned.as_bytes();
        rebuilt.truncate(kept * BlockEntry::LEN);
        rebuilt.extend_from_slice(scanned.as_bytes());
        Ok(Ok(Self {
            files,
            header,
            index: rebuilt,
            end,
            len,
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

    /// Returns the bytes an index of this segment has after its header.
    pub fn index_bytes(&self) -> &[u8] {
        &self.index
    }

    pub fn open(&self) -> io::Result<File> {
        File::open(&self.files.segment)
    }
}

/// Reads the payload of a block; `None` when it is not what was written.
pub fn payload(segment: &File, entry: &BlockEntry) -> io::Result<Option<Vec<u8>>> {
    // An entry is believed only with its checksum, so its length is what the agent wrote.
    let mut bytes = vec![0; entry.len()];
    match segment.read_exact_at(&mut bytes, entry.offset()) {
        Ok(()) => Ok(entry.owns(&bytes).then_some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the entries in `index`; a part of one at the end is left out.
fn whole_entries(index: &[u8]) -> &[BlockEntry] {
    <[BlockEntry]>::ref_from_prefix_with_elems(index, index.len() / BlockEntry::LEN)
        .map_or(&[], |(entries, _)| entries)
}
