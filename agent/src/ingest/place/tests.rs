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
fn a_part_of_a_batch_is_cut_at_the_cursor() {
    let (mut whole, _) = chunk(at(SEGMENT - 1, 100), 4096, 4);
    // One batch with four blocks, of which a chunk has the last three.
    let mut entries = Vec::new();
    for (nth, block) in (0..).zip(&whole.blocks) {
        let payload = &whole.bytes[block.payload.clone().unwrap()];
        let place = BlockPlace {
            offset: u32::try_from(8192 + 100 * u64::from(nth)).unwrap(),
            nth,
            of: 4,
        };
        let facts = BlockFacts {
            kind: BlockKind::Events,
            mark: 99,
            serial: None,
            count: 1,
            first_seq: 1,
            last_seq: 1,
            first_at: BootNs(1_000_000),
            last_at: BootNs(1_000_000),
            wall_offset: WallOffset::from_ns(5_000_000_000),
        };
        entries.push(BlockEntry::new(&facts, place, payload).unwrap());
    }
    let after = |blocks: usize| Position {
        segment: SEGMENT,
        offset: entries[blocks - 1].end(),
        check: table_check(&entries[..blocks]),
    };
    (whole.from, whole.to) = (after(1), after(4));
    whole.blocks.remove(0);
    for (block, entry) in whole.blocks.iter_mut().zip(&entries[1..]) {
        block.entry = *entry;
    }
    let expected = Place::Next {
        from: after(3),
        to: after(4),
        skip: 2,
    };
    assert_eq!(place(Some(after(3)), &whole), expected);
    let other = Position {
        check: 1,
        ..after(3)
    };
    assert!(matches!(place(Some(other), &whole), Place::Again { .. }));
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
    let end = Position {
        check: ends[2].check ^ 1,
        ..ends[2]
    };
    for cursor in [other, beside, begin, end] {
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
    // Its events of no session are not stored, and counted as missing.
    let (mut chunk, _) = self::chunk(at(SEGMENT, 4096), 4096, 3);
    let found = place(Some(other), &chunk);
    fit(&mut chunk, found);
    let missing: Vec<_> = chunk
        .unreadable
        .iter()
        .map(|gap| (gap.cause, gap.events))
        .collect();
    assert_eq!(missing, [(GapCause::StreamLost, Some(1))]);
}

#[test]
fn a_loss_becomes_a_gap_from_the_last_event_to_the_next() {
    let (first, _) = chunk(at(SEGMENT, 4096), 4096, 1);
    let boot = first.boot_id.as_uuid();
    let other = uuid::Uuid::from_u128(7);
    let clock = first.wall();
    let at_own = |ns: u64| Some(clock.wall_time(BootNs(ns)));
    for (stored_until, own, from) in [
        (Some((boot, BootNs(400_000))), at_own(400_000), 400_000),
        // A clock that was ahead, another boot, and a cursor of an older schema.
        (
            Some((boot, BootNs(9_000_000))),
            at_own(9_000_000),
            1_000_000,
        ),
        (Some((other, BootNs(400_000))), None, 0),
        (None, None, 0),
        // The cursor's time is in the clock of an earlier boot, whose events a trim copied.
        (Some((boot, BootNs(9_000_000))), at_own(400_000), 400_000),
        (Some((boot, BootNs(9_000_000))), None, 0),
    ] {
        let (mut chunk, _) = chunk(at(SEGMENT, 4096), 4096, 1);
        let cursor = HostCursor {
            position: at(SEGMENT, 100),
            stored_until,
        };
        after_a_loss(&mut chunk, Some(cursor), own.map(|at| (at, clock)));
        assert_eq!(chunk.from, cursor.position);
        let gap = &chunk.unreadable[0];
        assert_eq!(gap.cause, GapCause::StreamLost);
        assert_eq!((gap.from, gap.to), (BootNs(from), BootNs(1_000_000)));
    }
}

/// A block that a trim copied, with another clock.
fn carried(first_at: BootNs) -> Block {
    let facts = BlockFacts {
        kind: BlockKind::CarriedEvents,
        mark: 99,
        serial: None,
        count: 1,
        first_seq: 1,
        last_seq: 1,
        first_at,
        last_at: first_at,
        wall_offset: WallOffset::from_ns(1_000_000_000),
    };
    let place = BlockPlace {
        offset: 4096,
        nth: 0,
        of: 1,
    };
    Block {
        entry: BlockEntry::new(&facts, place, &[0; 8]).unwrap(),
        payload: None,
    }
}

#[test]
fn a_loss_across_a_reboot_has_the_end_of_the_earlier_boot() {
    for copied in [0, 9_000_000_000] {
        let (mut chunk, _) = chunk(at(SEGMENT, 4096), 4096, 1);
        let earlier = uuid::Uuid::from_u128(7);
        let booted = chunk.wall().wall_time(BootNs(0));
        let seconds = std::time::Duration::from_secs(2);
        // A trim copied events of an earlier boot into the first batch of this one.
        chunk.blocks.insert(0, carried(BootNs(90_000_000)));
        // The cursor's time may be in the clock of an earlier boot.
        let cursor = HostCursor {
            position: at(SEGMENT, 100),
            stored_until: Some((earlier, BootNs(400_000 + copied))),
        };
        let clock = WallOffset::between(BootNs(400_000), booted - seconds);
        let stored = Some((booted - seconds, clock));
        let (boot, gap, clock) = after_a_loss(&mut chunk, Some(cursor), stored).unwrap();
        assert_eq!((boot, gap.cause), (earlier, GapCause::StreamLost));
        assert_eq!(clock.wall_time(gap.from), booted - seconds);
        assert_eq!(clock.wall_time(gap.to), booted);
        // The new boot has a gap of its own, from its beginning.
        assert_eq!(chunk.unreadable[0].from, BootNs(0));
        assert_eq!(chunk.unreadable[0].to, BootNs(1_000_000));
    }
}
