use std::time::{Duration, UNIX_EPOCH};

use vctl_common::id::BootId;
use vctl_common::spool::{BatchHeader, BlockFacts, BlockKind, BlockPlace};
use vctl_common::time::WallOffset;

use super::*;
use crate::store::Block;

const SEGMENT: u64 = 7;

/// A chunk of batches with one block each, and the position after each batch.
fn chunk(from: Position, begin: u64, batches: u8) -> (Chunk, Vec<Position>) {
    let mut chunk = Chunk {
        from,
        to: from,
        boot_id: "11111111-2222-4333-8444-555555555555"
            .parse::<BootId>()
            .unwrap(),
        bytes: Vec::new(),
        blocks: Vec::new(),
        unreadable: Vec::new(),
    };
    let mut ends = Vec::new();
    let mut at = begin;
    for n in 0..batches {
        let payload = [n; 100];
        let facts = BlockFacts {
            kind: BlockKind::Events,
            mark: if n == 1 { 0 } else { 99 },
            serial: None,
            count: 1,
            first_seq: u64::from(n) + 1,
            last_seq: u64::from(n) + 1,
            first_at: BootNs(1_000_000),
            last_at: BootNs(1_000_000),
            wall_offset: WallOffset::from_ns(5_000_000_000),
        };
        let place = BlockPlace {
            offset: u32::try_from(BatchHeader::payloads_at(at, 1)).unwrap(),
            nth: 0,
            of: 1,
        };
        let entry = BlockEntry::new(&facts, place, &payload).unwrap();
        let start = chunk.bytes.len();
        chunk.bytes.extend_from_slice(&payload);
        chunk.blocks.push(Block {
            entry,
            payload: Some(start..start + payload.len()),
        });
        at = entry.end();
        ends.push(Position {
            segment: SEGMENT,
            offset: at,
            check: table_check(&[entry]),
        });
    }
    chunk.to = *ends.last().unwrap();
    (chunk, ends)
}

fn at(segment: u64, offset: u64) -> Position {
    Position {
        segment,
        offset,
        check: 5,
    }
}

#[test]
fn a_batch_is_next_where_the_cursor_is() {
    let from = at(SEGMENT, 4096);
    let (chunk, _) = chunk(from, 4096, 3);
    let next = Place::Next {
        from,
        to: chunk.to,
        skip: 0,
    };
    assert_eq!(place(Some(from), &chunk), next);
    assert_eq!(place(Some(at(SEGMENT, 4000)), &chunk), Place::Ahead);
    assert_eq!(place(Some(at(SEGMENT - 1, 9000)), &chunk), Place::Ahead);
    assert_eq!(place(None, &chunk), Place::Ahead);
}

#[test]
fn the_first_batch_of_a_spool_needs_no_cursor() {
    let (chunk, _) = chunk(Position::default(), 4096, 1);
    assert!(matches!(place(None, &chunk), Place::Next { skip: 0, .. }));
}

#[test]
fn an_overlapping_batch_is_cut_at_the_cursor() {
    let (mut chunk, ends) = chunk(at(SEGMENT - 2, 100), 4096, 4);
    let found = place(Some(ends[1]), &chunk);
    let expected = Place::Next {
        from: ends[1],
        to: ends[3],
        skip: 2,
    };
    assert_eq!(found, expected);
    fit(&mut chunk, found);
    assert_eq!((chunk.from, chunk.blocks.len()), (ends[1], 2));
    // The cursor is in a segment that no longer exists, before the data of the batch.
    let (chunk, _) = self::chunk(at(SEGMENT - 2, 100), 4096, 4);
    let between = at(SEGMENT - 1, 500);
    let found = place(Some(between), &chunk);
    assert!(matches!(found, Place::Next { from, skip: 0, .. } if from == between));
}

#[test]
fn a_passed_batch_is_sent_again_and_moves_no_cursor() {
    let (mut chunk, ends) = chunk(at(SEGMENT, 4096), 4096, 3);
    for cursor in [ends[2], at(SEGMENT, 90_000), at(SEGMENT + 1, 0)] {
        let found = place(Some(cursor), &chunk);
        assert_eq!(
            found,
            Place::Again {
                from: cursor,
                to: cursor
            }
        );
    }
    let found = place(Some(ends[2]), &chunk);
    fit(&mut chunk, found);
    // The block of no session is left out: nothing finds its rows.
    assert_eq!(chunk.blocks.len(), 2);
}

#[test]
fn another_history_of_the_spool_is_stored_as_a_whole() {
    let (chunk, ends) = chunk(at(SEGMENT, 4096), 4096, 3);
    let other = Position {
        check: ends[0].check ^ 1,
        ..ends[0]
    };
    let beside = at(SEGMENT, ends[0].offset + 1);
    let begin = Position {
        check: 6,
        ..at(SEGMENT, 4096)
    };
    for cursor in [other, beside, begin] {
        let found = place(Some(cursor), &chunk);
        assert_eq!(
            found,
            Place::Again {
                from: cursor,
                to: chunk.to
            },
            "{cursor:?}"
        );
    }
}

#[test]
fn a_loss_becomes_a_gap_until_the_next_event() {
    let (mut chunk, _) = chunk(at(SEGMENT, 4096), 4096, 1);
    let cursor = HostCursor {
        position: at(SEGMENT, 100),
        moved_at: UNIX_EPOCH + Duration::from_micros(5_000_400),
    };
    after_a_loss(&mut chunk, Some(cursor));
    assert_eq!(chunk.from, cursor.position);
    let gap = &chunk.unreadable[0];
    assert_eq!(gap.cause, GapCause::StreamLost);
    assert_eq!((gap.from, gap.to), (BootNs(400_000), BootNs(1_000_000)));
}
