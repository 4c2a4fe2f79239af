//! A reader of the ring that returns space to the kernel only when the records are stored.
//!
//! aya's reader moves the consumer position with each record. A `kill -9` between that and the
//! write to the spool would lose the record. Here the caller moves the position, after the write.
//! Layout: `kernel/bpf/ringbuf.c`.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// Set in a record's length while the record is being written.
const BUSY: u32 = 1 << 31;
/// Set when the record was discarded.
const DISCARDED: u32 = 1 << 30;
/// Length and page offset in front of each record.
const RECORD_HEADER: u64 = 8;

/// A pinned BPF ring buffer, mapped into memory.
#[derive(Debug)]
pub struct Ring {
    consumer: NonNull<u8>,
    producer: NonNull<u8>,
    page: usize,
    size: u64,
}

/// The part of the ring that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadPart {
    /// End of the last complete record.
    pub to: u64,
    /// Nothing is left before the end that was asked for: no record that is still being written, and none beyond the
    /// limit.
    pub is_all: bool,
}

/// The two pages that hold a position.
#[derive(Clone, Copy)]
enum Page {
    Consumer,
    Producer,
}

impl Ring {
    /// Maps the ring of `fd`, which has `size` bytes.
    ///
    /// # Errors
    /// Those of mmap(2).
    #[allow(
        unsafe_code,
        reason = "the ring is shared with the kernel by mapping it"
    )]
    pub fn map(fd: BorrowedFd<'_>, size: u32) -> io::Result<Self> {
        let page = sysconf(SysconfVar::PAGE_SIZE)?.unwrap_or(4096);
        let page = usize::try_from(page).unwrap_or(4096);
        let length = |len: usize| {
            NonZeroUsize::new(len).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
        };
        let file = File::from(fd.try_clone_to_owned()?);
        let read_write = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let page_offset = i64::try_from(page).unwrap_or(4096);
        // SAFETY: new shared mappings of a ring, in its fixed layout: one page that we may write,
        // one page that the kernel writes, and the data twice in a row.
        let (consumer, producer) = unsafe {
            let consumer = mmap(
                None,
                length(page)?,
                read_write,
                MapFlags::MAP_SHARED,
                &file,
                0,
            )?;
            let rest = length(page + 2 * size as usize)?;
            let producer = mmap(
                None,
                rest,
                ProtFlags::PROT_READ,
                MapFlags::MAP_SHARED,
                &file,
                page_offset,
            )?;
            (consumer.cast(), producer.cast())
        };
        Ok(Self {
            consumer,
            producer,
            page,
            size: u64::from(size),
        })
    }

    /// Returns the read position; all data before it was returned to the kernel.
    pub fn position(&self) -> u64 {
        self.counter(Page::Consumer).load(Ordering::Acquire)
    }

    /// Returns the position up to which the kernel has given out space.
    pub fn produced(&self) -> u64 {
        self.counter(Page::Producer).load(Ordering::Acquire)
    }

    /// Returns the number of bytes that wait.
    pub fn backlog(&self) -> u64 {
        self.produced().wrapping_sub(self.position())
    }

    /// Passes the complete records from `from` on to `each`, as far as the kernel has given out space now.
    pub fn read(&self, from: u64, limit: u64, each: impl FnMut(&[u8])) -> ReadPart {
        self.read_to(self.produced(), from, limit, each)
    }

    /// Passes the complete records between `from` and `end` to `each`. Stops at a record that is still being written, and
    /// at most some bytes after `limit` bytes. Returns no space to the kernel.
    pub fn read_to(
        &self,
        end: u64,
        from: u64,
        limit: u64,
        mut each: impl FnMut(&[u8]),
    ) -> ReadPart {
        let mut at = from;
        while at < end && at - from < limit {
            let length = self.length(at).load(Ordering::Acquire);
            if length & BUSY != 0 {
                break;
            }
            let size = u64::from(length & !DISCARDED);
            if length & DISCARDED == 0 {
                each(self.bytes(at + RECORD_HEADER, size));
            }
            at += (RECORD_HEADER + size).next_multiple_of(8);
        }
        ReadPart {
            to: at,
            is_all: at >= end,
        }
    }

    /// Returns the space before `to` to the kernel.
    pub fn give_back(&self, to: u64) {
        self.counter(Page::Consumer).store(to, Ordering::Release);
    }

    #[allow(
        unsafe_code,
        reason = "the ring is shared with the kernel by mapping it"
    )]
    fn counter(&self, page: Page) -> &AtomicU64 {
        let page = match page {
            Page::Consumer => self.consumer,
            Page::Producer => self.producer,
        };
        // SAFETY: the first eight bytes of both pages are a position, which the kernel also changes
        // atomically.
        unsafe { AtomicU64::from_ptr(page.as_ptr().cast()) }
    }

    #[allow(
        unsafe_code,
        reason = "the ring is shared with the kernel by mapping it"
    )]
    fn length(&self, at: u64) -> &AtomicU32 {
        let offset = self.page + usize::try_from(at & (self.size - 1)).unwrap_or(0);
        // SAFETY: below `size`, so within the mapping; record headers are aligned to eight. The
        // page is read-only for us, and this only loads.
        unsafe { AtomicU32::from_ptr(self.producer.as_ptr().add(offset).cast()) }
    }

    #[allow(
        unsafe_code,
        reason = "the ring is shared with the kernel by mapping it"
    )]
    fn bytes(&self, at: u64, len: u64) -> &[u8] {
        let offset = self.page + usize::try_from(at & (self.size - 1)).unwrap_or(0);
        // No record is larger than the ring; with a wrong length we must not read beyond it.
        let len = usize::try_from(len.min(self.size)).unwrap_or(0);
        // SAFETY: the data is mapped twice in a row, so `len` bytes from any offset are mapped. The
        // record is complete, and the kernel does not change it before its space is returned.
        unsafe { std::slice::from_raw_parts(self.producer.as_ptr().add(offset), len) }
    }
}

impl Drop for Ring {
    #[allow(
        unsafe_code,
        reason = "the ring is shared with the kernel by mapping it"
    )]
    fn drop(&mut self) {
        let rest = self.page + 2 * usize::try_from(self.size).unwrap_or(0);
        // SAFETY: our own mappings, which are no longer borrowed. An error has no consequence here.
        unsafe {
            let _ = munmap(self.consumer.cast(), self.page);
            let _ = munmap(self.producer.cast(), rest);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    /// Returns a ring of one page in a file, with records of eight bytes and these flags.
    pub(crate) fn ring_of(flags: &[u32]) -> Ring {
        let page = sysconf(SysconfVar::PAGE_SIZE).unwrap().unwrap();
        let page = u64::try_from(page).unwrap();
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 * page).unwrap();
        let mut at = 0;
        for flag in flags {
            let length = 8 | flag;
            file.write_all_at(&length.to_ne_bytes(), 2 * page + at)
                .unwrap();
            at += RECORD_HEADER + 8;
        }
        file.write_all_at(&at.to_ne_bytes(), page).unwrap();
        Ring::map(file.as_fd(), u32::try_from(page).unwrap()).unwrap()
    }

    fn read(ring: &Ring, limit: u64) -> (ReadPart, usize) {
        let mut records = 0;
        let part = ring.read(0, limit, |_| records += 1);
        (part, records)
    }

    #[test]
    fn a_record_that_is_still_written_is_not_the_end() {
        let whole = ring_of(&[0, DISCARDED, 0]);
        let all = ReadPart {
            to: 48,
            is_all: true,
        };
        assert_eq!(read(&whole, u64::MAX), (all, 2));
        let stops = |to| ReadPart { to, is_all: false };
        assert_eq!(read(&ring_of(&[0, BUSY, 0]), u64::MAX), (stops(16), 1));
        assert_eq!(read(&whole, 1), (stops(16), 1));
    }

    #[test]
    fn records_behind_the_end_of_a_look_are_left() {
        let ring = ring_of(&[0, 0, 0]);
        let mut records = 0;
        let part = ring.read_to(32, 0, u64::MAX, |_| records += 1);
        let first_two = ReadPart {
            to: 32,
            is_all: true,
        };
        assert_eq!((part, records), (first_two, 2));
    }
}
