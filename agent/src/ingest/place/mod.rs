//! Where a message belongs, by the cursor of its spool. No I/O.
//!
//! Messages of one host may arrive twice, and in another order when several consumers work. The cursor decides: a batch
//! is stored when the cursor is at its beginning. A batch that the cursor has passed is sent again without moving it: rows that
//! exist are left out by their keys, and rows of another history of the spool (restored from a copy) are not lost.

use std::time::SystemTime;

use uuid::Uuid;
use vctl_common::session::{Gap, GapCause};
use vctl_common::spool::{BlockEntry, table_check, table_check_from};
use vctl_common::time::{BootNs, WallOffset};

use crate::spool::Position;
use crate::store::{Block, Chunk, HostCursor};

/// How a message is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The cursor is at `from` and moves to `to`. Blocks before `skip` are stored already.
    Next {
        from: Position,
        to: Position,
        skip: usize,
    },
    /// The cursor has passed the message, or is in another history of the spool.
    Again { from: Position, to: Position },
    /// A message before this one is not stored.
    Ahead,
}

fn order(position: Position) -> (u64, u64) {
    (position.segment, position.offset)
}

/// Finds the place of a chunk. `cursor` is `None` if nothing of its spool is stored.
pub(super) fn place(cursor: Option<Position>, chunk: &Chunk) -> Place {
    let (from, to) = (chunk.from, chunk.to);
    let Some(cursor) = cursor else {
        return if from == Position::default() {
            Place::Next { from, to, skip: 0 }
        } else {
            Place::Ahead
        };
    };
    if cursor == from {
        return Place::Next { from, to, skip: 0 };
    }
    if order(cursor) < order(from) {
        return Place::Ahead;
    }
    let is_same = cursor.check == to.check || cursor.check == 0 || to.check == 0;
    if order(to) < order(cursor) || order(to) == order(cursor) && is_same {
        return Place::Again {
            from: cursor,
            to: cursor,
        };
    }
    match rest(cursor, chunk) {
        Some(skip) => Place::Next {
            from: cursor,
            to,
            skip,
        },
        None => Place::Again { from: cursor, to },
    }
}

/// Returns the index of the first block after the cursor; `None` if the cursor is not at the end of a batch here.
fn rest(cursor: Position, chunk: &Chunk) -> Option<usize> {
    let entries: Vec<BlockEntry> = chunk.blocks.iter().map(|block| block.entry).collect();
    let begins = |entry: &BlockEntry| entry.batch_at().unwrap_or(entry.offset());
    let first = entries.first().map(begins)?;
    if order(cursor) < (chunk.to.segment, first) {
        // The segments between were dropped after they were shipped.
        return Some(0).filter(|_| order(cursor) > order(chunk.from));
    }
    let before = entries
        .iter()
        .take_while(|entry| entry.end() <= cursor.offset);
    let skip = before.count();
    let last = entries[..skip].last()?;
    let check = match entries[..skip].iter().rposition(|entry| entry.nth() == 0) {
        Some(batch) => table_check(&entries[batch..skip]),
        // The chunk begins within this batch.
        None => table_check_from(chunk.from.check, &entries[..skip]),
    };
    let is_same = cursor.check == 0 || check == cursor.check;
    (last.end() == cursor.offset && is_same).then_some(skip)
}

/// Cuts a chunk to its place.
pub(super) fn fit(chunk: &mut Chunk, place: Place) {
    match place {
        Place::Next { from, to, skip } => {
            (chunk.from, chunk.to) = (from, to);
            chunk.blocks.drain(..skip);
        }
        Place::Again { from, to } => {
            (chunk.from, chunk.to) = (from, to);
            // Events of no session have no key that finds their row.
            let blocks = std::mem::take(&mut chunk.blocks);
            let has_key = |block: &Block| !block.entry.is_events() || block.entry.mark() != 0;
            let (keyed, rest): (Vec<_>, Vec<_>) = blocks.into_iter().partition(has_key);
            chunk.blocks = keyed;
            if from != to {
                // Of another history, so they were not stored before.
                let gap = |block: &Block| block.entry.gap(GapCause::StreamLost, None);
                chunk.unreadable.extend(rest.iter().map(gap));
            }
        }
        Place::Ahead => {}
    }
}

/// Puts a gap before a chunk that follows lost ones, and makes it the next chunk. `stored` is the last stored event of the
/// cursor's boot, and the clock of that boot. Returns the gap at the end of the cursor's boot, if the host was booted
/// between: the boot, the gap in its clock, and that clock.
pub(super) fn after_a_loss(
    chunk: &mut Chunk,
    cursor: Option<HostCursor>,
    stored: Option<(SystemTime, WallOffset)>,
) -> Option<(Uuid, Gap, WallOffset)> {
    // A trim of the spool copies events of earlier boots, with their clocks.
    let own = || chunk.new_blocks().filter(|entry| !entry.is_carried());
    let to = own()
        .map(BlockEntry::first_at)
        .find(|at| *at != BootNs(0))
        .unwrap_or(BootNs(0));
    let clock = own().next().map_or(chunk.wall(), BlockEntry::wall_offset);
    let boot = chunk.boot_id.as_uuid();
    // Events that were stored until then are not missing. The cursor's time may be in the clock of an earlier boot, whose
    // events a trim copied: the stored events of the cursor's boot decide then.
    let last = cursor
        .and_then(|cursor| cursor.stored_until)
        .zip(stored)
        .map(|((of, at), (stored_at, clock))| (of, at.min(boot_time(clock, stored_at)), clock));
    // If the cursor is of another boot, all events of this one may be missing.
    let from = last
        .filter(|(of, ..)| *of == boot)
        .map_or(BootNs(0), |(_, at, _)| at.min(to));
    chunk
        .unreadable
        .push(Gap::new(GapCause::StreamLost, None, from, to));
    if let Some(cursor) = cursor {
        chunk.from = cursor.position;
    }
    let (of, at, before) = last.filter(|(of, ..)| *of != boot)?;
    // When that boot ended is not known; before this one began.
    let end = boot_time(before, clock.wall_time(BootNs(0))).max(at);
    let gap = Gap::new(GapCause::StreamLost, None, at, end);
    Some((of, gap, before))
}

/// Returns a wall time in the clock of a boot; the boot's beginning for earlier times.
fn boot_time(clock: WallOffset, at: SystemTime) -> BootNs {
    let since = at.duration_since(clock.wall_time(BootNs(0)));
    BootNs(since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }))
}

#[cfg(test)]
mod tests;
