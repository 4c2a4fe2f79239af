//! The state that writer, recovery and retention share: configuration, finished segments, open sessions.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::SystemTime;

use vctl_common::id::BootId;
use vctl_common::session::SessionOpened;
use vctl_common::spool::{BlockEntry, Segment, SegmentFiles};
use vctl_common::time::WallOffset;
use vctl_common::wire::Mark;

use super::active::{Active, disk_bytes, head_end, last_wall};
use super::position::Position;

/// Directory, sizes and identity of a spool.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    pub dir: PathBuf,
    /// Most bytes of all segments and indexes together.
    pub cap_bytes: u64,
    /// Size after which a new segment begins.
    pub segment_bytes: u64,
    pub host: String,
    pub boot_id: BootId,
}

/// An open session; the head of each new segment repeats it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) opened: SessionOpened,
    pub(super) boot_id: BootId,
    pub(super) wall: WallOffset,
}

/// A finished segment: the facts for the decision to drop it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) files: SegmentFiles,
    pub(super) bytes: u64,
    pub(super) boot_id: BootId,
    /// Bytes of events in it, by session and sorted.
    pub(super) with_events: Vec<(Mark, u64)>,
    /// Bytes of events and journal entries in it, without its head, by session and sorted.
    pub(super) shares: Vec<(Mark, u64)>,
    /// Sessions with journal entries in it, sorted.
    pub(super) named: Vec<Mark>,
    /// Time of its last event.
    pub(super) last_at: Option<SystemTime>,
    /// The events that go with it, with and without a session, once the rest is copied: only its removal failed.
    pub(super) copied: Option<(u64, u64)>,
}

impl Sealed {
    pub(super) fn has_events(&self, mark: Mark) -> bool {
        let found = self
            .with_events
            .binary_search_by_key(&mark, |(mark, _)| *mark);
        found.is_ok()
    }

    pub(super) fn is_shipped(&self, shipped: Option<Position>) -> bool {
        let (number, end) = (self.files.number, self.files.len);
        shipped.is_some_and(|shipped| number < shipped.segment || shipped.includes(number, end))
    }

    /// Returns whether it has no event of an open session. The journal does not count: every head names all
    /// sessions that were open.
    pub(super) fn is_over(&self, live: &HashMap<Mark, Live>) -> bool {
        let mut marks = self.with_events.iter();
        !marks.any(|(mark, _)| live.contains_key(mark))
    }

    pub(super) fn of_active(active: Active) -> Self {
        Self {
            bytes: active.bytes(),
            boot_id: active.header.boot_id(),
            shares: summed(active.shares()),
            with_events: summed(active.with_events),
            named: sorted(active.named),
            last_at: active.last_at,
            copied: None,
            files: SegmentFiles {
                len: active.end,
                ..active.files
            },
        }
    }

    pub(super) fn of_loaded(segment: &Segment) -> Self {
        let entries = segment.entries();
        let events = entries.iter().filter(|entry| entry.is_events());
        let journal = entries.iter().filter(|entry| entry.is_journal());
        let head_end = head_end(segment);
        let is_share = |entry: &&BlockEntry| {
            entry.is_events()
                || entry.is_journal() && entry.mark() != 0 && entry.offset() >= head_end
        };
        let shares = entries.iter().filter(is_share);
        Self {
            files: segment.files.clone(),
            bytes: segment.files.len + segment.index_bytes().len() as u64,
            boot_id: segment.header.boot_id(),
            with_events: summed(events.map(|entry| (entry.mark(), disk_bytes(entry)))),
            shares: summed(shares.map(|entry| (entry.mark(), disk_bytes(entry)))),
            named: sorted(journal.map(BlockEntry::mark)),
            last_at: last_wall(entries),
            copied: None,
        }
    }
}

fn sorted(marks: impl IntoIterator<Item = Mark>) -> Vec<Mark> {
    let mut marks: Vec<_> = marks.into_iter().collect();
    marks.sort_unstable();
    marks.dedup();
    marks
}

fn summed(shares: impl IntoIterator<Item = (Mark, u64)>) -> Vec<(Mark, u64)> {
    let mut by_mark: BTreeMap<Mark, u64> = BTreeMap::new();
    for (mark, bytes) in shares {
        *by_mark.entry(mark).or_default() += bytes;
    }
    by_mark.into_iter().collect()
}
