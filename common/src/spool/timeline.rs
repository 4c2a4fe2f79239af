//! The events of one session, in order.

use std::time::SystemTime;

use super::block::BlockEntry;
use super::dir::SegmentFiles;
use super::error::SpoolReadError;
use super::reader::{Block, Blocks, SpoolReader};
use super::record::SessionRecord;
use crate::event::{self, KernelEvent};
use crate::id::SessionId;
use crate::session::{Gap, GapCause};
use crate::time::{BootNs, WallOffset};
use crate::wire::Header;

/// One event and its time by the wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    pub wall: SystemTime,
    pub event: KernelEvent,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Ordered by session sequence number.
    pub events: Vec<StoredEvent>,
    /// Blocks and records of the session that cannot be read.
    pub damaged: Vec<Gap>,
}

impl SpoolReader {
    /// Reads the events of one session and no others.
    ///
    /// # Errors
    /// A segment cannot be read at all.
    pub fn timeline(&self, session: &SessionRecord) -> Result<Timeline, SpoolReadError> {
        let id = session.opened.id;
        let mut timeline = Timeline::default();
        let holds = |files: &SegmentFiles| session.segments.contains(&files.number);
        self.each_segment(holds, |segment| {
            // Other damage is already in the session's gaps.
            let Ok(segment) = segment else {
                return Ok(());
            };
            let mut blocks = Blocks::new(self, segment);
            let mine = |e: &&BlockEntry| e.mark() == id.mark() && e.is_events();
            for entry in segment.entries().iter().filter(mine) {
                match blocks.payload(entry)? {
                    Block::Whole(payload) => timeline.take(id, entry, &payload),
                    Block::Damaged => {
                        let gap = entry.gap(GapCause::SpoolDamaged, id);
                        timeline.damaged.push(gap);
                    }
                    Block::Dropped => {
                        let gap = entry.gap(GapCause::SpoolCap, id);
                        timeline.damaged.push(gap);
                    }
                }
            }
            Ok(())
        })?;
        timeline.put_in_order();
        Ok(timeline)
    }
}

impl Timeline {
    /// Adds one record of session `id` from another store. `at` is its time, for the case that the
    /// record is unreadable.
    pub fn take_record(&mut self, id: SessionId, wall: WallOffset, at: BootNs, record: &[u8]) {
        match event::decode(record) {
            Ok(event) => self.events.push(StoredEvent {
                wall: wall.wall_time(event.at),
                event,
            }),
            Err(_) => self.damaged.push(record_gap(id, (at, at), record)),
        }
    }

    /// Sorts the events by their numbers and removes duplicates.
    pub fn put_in_order(&mut self) {
        self.events
            .sort_by_key(|stored| (stored.event.session_seq, stored.event.at));
        // If the ring position of a batch is lost, its events are stored again after a restart.
        self.events.dedup_by(|a, b| a.event == b.event);
    }

    fn take(&mut self, id: SessionId, entry: &BlockEntry, payload: &[u8]) {
        for record in records(payload) {
            match record.map(|bytes| (event::decode(bytes), bytes)) {
                Ok((Ok(event), _)) => self.events.push(StoredEvent {
                    wall: entry.wall_offset().wall_time(event.at),
                    event,
                }),
                Ok((Err(_), bytes)) => {
                    let times = (entry.first_at(), entry.last_at());
                    self.damaged.push(record_gap(id, times, bytes));
                }
                Err(_) => {
                    let of_block = entry.gap(GapCause::Undecodable, id);
                    self.damaged.push(of_block.with_events(None));
                }
            }
        }
    }
}

/// Splits a payload of events into its records; the first invalid one is returned as `Err` and ends
/// the iteration.
pub fn records(payload: &[u8]) -> impl Iterator<Item = Result<&[u8], event::DecodeError>> {
    let mut rest = payload;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let all = std::mem::take(&mut rest);
        let header = match event::header(all) {
            Ok(header) => header,
            Err(error) => return Some(Err(error)),
        };
        let says = header.len as usize;
        match all.split_at_checked(says) {
            Some((record, following)) if says >= size_of::<Header>() => {
                rest = following;
                Some(Ok(record))
            }
            _ => Some(Err(event::DecodeError::WrongLength {
                len: all.len(),
                says,
            })),
        }
    })
}

fn record_gap(id: SessionId, (first_at, last_at): (BootNs, BootNs), record: &[u8]) -> Gap {
    let header = event::header(record).ok();
    let at = header.map(|header| BootNs(header.at));
    let (from, to) = (at.unwrap_or(first_at), at.unwrap_or(last_at));
    let gap = Gap::new(GapCause::Undecodable, id, from, to).with_events(1);
    match header {
        Some(header) => gap.with_numbers(header.session_seq, header.session_seq),
        None => gap,
    }
}
