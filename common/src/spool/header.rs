//! Header of segments and indexes: the bytes on disk.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::id::BootId;

/// Changes with the format of the bytes or their meaning. A newer version is refused, with its
/// number.
///
/// Version 2 added blocks of carried events; files of version 1 are read as before.
pub const VERSION: u32 = 2;
/// The oldest version that can still be read.
const OLDEST: u32 = 1;

/// Longest host name that a header holds, in bytes; Linux allows 64.
const HOST_MAX: usize = 256;

/// Kind of the file that a header begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    Segment,
    Index,
}

impl FileKind {
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"vctl.seg",
            Self::Index => *b"vctl.idx",
        }
    }
}

/// Header of a segment, repeated in its index, so that damage to one file leaves the other.
///
/// The first 16 bytes are the same in every version: a damaged version number must not look like a
/// newer one.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FileHeader {
    magic: [u8; 8],
    version: U32,
    /// Checksum of `magic` and `version`.
    prefix_crc: U32,
    /// Checksum of the rest.
    crc: U32,
    reserved: U16,
    host_len: U16,
    number: U64,
    batch_magic: U64,
    boot_id: [u8; 16],
    host: [u8; HOST_MAX],
}

/// The file does not begin with a header of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Written by a newer vctl.
    Newer {
        version: u32,
    },
    /// The file is shorter than a header: it has just been created.
    Short,
    Damaged,
}

impl FileHeader {
    pub const LEN: usize = size_of::<Self>();

    /// Returns the header of a segment, or `None` when the host name is too long for it.
    ///
    /// Users of the host must not be able to guess `batch_magic`.
    pub fn new(number: u64, boot_id: BootId, host: &str, batch_magic: u64) -> Option<Self> {
        let mut padded = [0; HOST_MAX];
        padded
            .get_mut(..host.len())?
            .copy_from_slice(host.as_bytes());
        Some(Self {
            magic: [0; 8],
            version: VERSION.into(),
            prefix_crc: 0.into(),
            crc: 0.into(),
            reserved: 0.into(),
            host_len: u16::try_from(host.len()).ok()?.into(),
            number: number.into(),
            batch_magic: batch_magic.into(),
            boot_id: *boot_id.as_uuid().as_bytes(),
            host: padded,
        })
    }

    /// Returns the bytes at the beginning of a file of this kind.
    pub fn encode(&self, kind: FileKind) -> [u8; Self::LEN] {
        let mut header = *self;
        header.magic = kind.magic();
        header.prefix_crc = crc32c::crc32c(&header.as_bytes()[..12]).into();
        header.crc = crc32c::crc32c(&header.as_bytes()[20..]).into();
        zerocopy::transmute!(header)
    }

    pub fn decode(bytes: &[u8], kind: FileKind) -> Result<Self, HeaderError> {
        // Checked before the length: the header of a newer version may be shorter.
        let prefix = bytes.get(..16).ok_or(HeaderError::Short)?;
        let (prefix, prefix_crc) = prefix.split_at(12);
        let known = prefix.starts_with(&kind.magic())
            && crc32c::crc32c(prefix).to_le_bytes() == *prefix_crc;
        let version = U32::read_from_suffix(prefix).map_or(0, |(_, v)| v.get());
        if known && version > VERSION {
            return Err(HeaderError::Newer { version });
        }
        let (header, _) = Self::read_from_prefix(bytes).map_err(|_| HeaderError::Short)?;
        let whole = known
            && (OLDEST..=VERSION).contains(&version)
            && header.crc.get() == crc32c::crc32c(&header.as_bytes()[20..])
            && usize::from(header.host_len.get()) <= HOST_MAX;
        whole.then_some(header).ok_or(HeaderError::Damaged)
    }

    pub fn number(&self) -> u64 {
        self.number.get()
    }

    pub fn boot_id(&self) -> BootId {
        BootId::from_uuid(uuid::Uuid::from_bytes(self.boot_id))
    }

    pub fn host(&self) -> String {
        let host = &self.host[..usize::from(self.host_len.get()).min(HOST_MAX)];
        String::from_utf8_lossy(host).into_owned()
    }

    pub fn batch_magic(&self) -> u64 {
        self.batch_magic.get()
    }
}

const _: () = assert!(FileHeader::LEN == 312, "part of the format");

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        let boot_id = "00000000-0000-4000-8000-000000000001".parse().unwrap();
        FileHeader::new(7, boot_id, "web-1", 99).unwrap()
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let bytes = header().encode(FileKind::Segment);
        let read = FileHeader::decode(&bytes, FileKind::Segment).unwrap();
        assert_eq!((read.number(), read.batch_magic()), (7, 99));
        assert_eq!(
            (read.host(), read.boot_id()),
            ("web-1".to_owned(), header().boot_id())
        );
    }

    #[test]
    fn a_header_with_a_flipped_bit_is_damaged() {
        let whole = header().encode(FileKind::Segment);
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole;
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = FileHeader::decode(&bytes, FileKind::Segment);
            assert_eq!(read.err(), Some(HeaderError::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_the_first_version_is_still_read() {
        let mut first = header();
        first.version = 1.into();
        let bytes = first.encode(FileKind::Segment);
        let read = FileHeader::decode(&bytes, FileKind::Segment).unwrap();
        assert_eq!(read.number(), 7);
    }

    #[test]
    fn an_index_is_not_taken_for_a_segment() {
        let index = header().encode(FileKind::Index);
        let read = FileHeader::decode(&index, FileKind::Segment);
        assert_eq!(read.err(), Some(HeaderError::Damaged));
    }

    #[test]
    fn a_host_name_that_does_not_fit_is_refused_not_cut() {
        let boot_id = header().boot_id();
        assert!(FileHeader::new(0, boot_id, &"h".repeat(256), 1).is_some());
        assert!(FileHeader::new(0, boot_id, &"h".repeat(257), 1).is_none());
    }
}
