//! Where a message belongs, by the cursor of its spool. No I/O.
//!
//! Messages of one host may arrive twice, and in another order when several consumers work. The cursor decides: a batch
//! is stored when the cursor is at its beginning. A batch that the cursor has passed is sent again without moving it: rows that
//! exist are left out by their keys, and rows of another history of the spool (restored from a copy) are not lost.

use vctl_common::session::{Gap, GapCause};
use vctl_common::spool::{BlockEntry, table_check};
use vctl_common::time::BootNs;

use crate::spool::Position;
use crate::store::{Chunk, HostCursor};

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
    if order(to) <= order(cursor) {
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
    let batch = entries[..skip].iter().rposition(|entry| entry.nth() == 0)?;
    let stored = &entries[batch..skip];
    let ends_here = stored
        .last()
        .is_some_and(|entry| entry.end() == cursor.offset);
    let is_same = cursor.check == 0 || table_check(stored) == cursor.check;
    (ends_here && is_same).then_some(skip)
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
            chunk
                .blocks
                .retain(|block| !block.entry.is_events() || block.entry.mark() != 0);
        }
        Place::Ahead => {}
    }
}

/// Puts a gap before a chunk that follows lost ones, and makes it the next chunk.
pub(super) fn after_a_loss(chunk: &mut Chunk, cursor: Option<HostCursor>) {
    let to = chunk
        .new_blocks()
        .map(BlockEntry::first_at)
        .find(|at| *at != BootNs(0))
        .unwrap_or(BootNs(0));
    // Events that were stored until then are not missing.
    let from = cursor.map_or(BootNs(0), |cursor| {
        let wall = cursor.moved_at.duration_since(std::time::UNIX_EPOCH);
        let wall = wall.map_or(0, |wall| i64::try_from(wall.as_nanos()).unwrap_or(i64::MAX));
        let boot = wall.saturating_sub(chunk.wall().as_ns());
        BootNs(u64::try_from(boot).unwrap_or(0)).min(to)
    });
    chunk
        .unreadable
        .push(Gap::new(GapCause::StreamLost, None, from, to));
    if let Some(cursor) = cursor {
        chunk.from = cursor.position;
    }
}

#[cfg(test)]
mod tests;
