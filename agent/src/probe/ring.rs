//! The ring as a reader that gives a record back only when it is safe elsewhere.
//!
//! aya's reader moves the consumer position with each record it hands out; a `kill -9` between
//! that and the write to the spool would lose the record. Here the position moves when the caller
//! says so, after the write. Layout: `kernel/bpf/ringbuf.c`.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// Set in a record's length while it is being written.
const BUSY: u32 = 1 << 31;
/// Set when the record was given up.
const DISCARDED: u32 = 1 << 30;
/// Length and page offset in front of each record.
const RECORD_HEADER: u64 = 8;

/// A pinned BPF ring buffer, mapped.
#[derive(Debug)]
pub struct Ring {
    consumer: NonNull<u8>,
    producer: NonNull<u8>,
    page: usize,
    size: u64,
}

/// The pages that hold a position.
#[derive(Clone, Copy)]
enum Page {
    Consumer,
    Producer,
}

impl Ring {
    /// Maps the ring behind `fd`, which has room for `size` bytes.
    ///
    /// # Errors
    /// What mmap(2) says.
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
        // SAFETY: new shared mappings of a ring, which lays itself out as one page we may write,
        // one the kernel writes, and the data twice in a row.
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

    /// Returns where reading goes on: all before it was given back to the kernel.
    pub fn position(&self) -> u64 {
        self.counter(Page::Consumer).load(Ordering::Acquire)
    }

    /// Returns how many bytes are waiting.
    pub fn backlog(&self) -> u64 {
        self.counter(Page::Producer)
            .load(Ordering::Acquire)
            .wrapping_sub(self.position())
    }

    /// Hands out the records from `from` on that are complete, and returns where they end, at
    /// latest some bytes after `limit` of them. Gives nothing back.
    pub fn read(&self, from: u64, limit: u64, mut each: impl FnMut(&[u8])) -> u64 {
        let end = self.counter(Page::Producer).load(Ordering::Acquire);
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
        at
    }

    /// Gives everything before `to` back to the kernel.
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
        // SAFETY: the first eight bytes of either page are a position, which the kernel too
        // changes as a whole.
        unsafe { AtomicU64::from_ptr(page.as_ptr().cast()) }
    }

    #[allow(
        unsafe_code,
        reason = "the ring is shared with the kernel by mapping it"
    )]
    fn length(&self, at: u64) -> &AtomicU32 {
        let offset = self.page + usize::try_from(at & (self.size - 1)).unwrap_or(0);
        // SAFETY: below `size`, so within the mapping; record headers are aligned to eight. The
        // page is read-only for us, and we only load.
        unsafe { AtomicU32::from_ptr(self.producer.as_ptr().add(offset).cast()) }
    }

    #[allow(
        unsafe_code,
        reason = "the ring is shared with the kernel by mapping it"
    )]
    fn bytes(&self, at: u64, len: u64) -> &[u8] {
        let offset = self.page + usize::try_from(at & (self.size - 1)).unwrap_or(0);
        // A record never is larger than the ring; were its length wrong, we must not read beyond.
        let len = usize::try_from(len.min(self.size)).unwrap_or(0);
        // SAFETY: the data is mapped twice in a row, so `len` bytes from any place are there. The
        // record is complete, and the kernel leaves it alone until it is given back.
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
        // SAFETY: our own mappings, which nobody can borrow any more. Nothing is to be done about
        // an error.
        unsafe {
            let _ = munmap(self.consumer.cast(), self.page);
            let _ = munmap(self.producer.cast(), rest);
        }
    }
}
