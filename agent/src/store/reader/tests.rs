use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;
use vctl_common::id::SessionId;
use vctl_common::session::{JournalEntry, SessionOpened};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::{Exit, Header, KIND_EXIT};
use zerocopy::{FromZeros, IntoBytes};

use super::super::columns::Columns;
use super::*;
use crate::spool::{BatchBuilder, SpoolConfig, SpoolWriter};

const LIMITS: Limits = Limits {
    events: 20,
    bytes: 1 << 20,
};

fn dir() -> TempDir {
    TempDir::new_in("/dev/shm")
        .or_else(|_| TempDir::new())
        .unwrap()
}

fn config(dir: &TempDir) -> SpoolConfig {
    SpoolConfig {
        dir: dir.path().join("spool"),
        cap_bytes: 1 << 30,
        segment_bytes: 64 << 10,
        host: "web-1".to_owned(),
        boot_id: boot(),
    }
}

fn boot() -> BootId {
    "00000000-0000-4000-8000-000000000001".parse().unwrap()
}

fn reader(dir: &TempDir) -> Reader {
    Reader::new(&config(dir).dir, boot())
}

/// Writes the session's next events with these numbers, as one batch.
fn write(writer: &mut SpoolWriter, seqs: std::ops::RangeInclusive<u64>) {
    let session = SessionId::from_mark(1 << 63);
    let mut batch = BatchBuilder::new();
    for seq in seqs {
        let mut exit = Exit::new_zeroed();
        exit.header = Header {
            len: 80,
            kind: KIND_EXIT,
            marked: 0,
            session: session.mark(),
            session_seq: seq,
            cpu_seq: seq,
            at: 100 + seq,
            tgid: 7,
            cpu: 0,
            start: 1,
        };
        batch
            .push_event(session.mark(), None, exit.as_bytes())
            .unwrap();
    }
    let wall = WallOffset::from_ns(1_700_000_000_000_000_000);
    writer.commit(&mut batch, None, wall).unwrap();
}

/// Reads from `at` to the end of the durable part; returns the numbers and the final position.
fn read(reader: &mut Reader, mut at: Position, durable: Durable) -> (Vec<i64>, Position, usize) {
    let (mut seqs, mut gaps) = (Vec::new(), 0);
    while let Some(chunk) = reader.next(at, durable, LIMITS).unwrap() {
        assert_eq!(chunk.from, at);
        assert!(chunk.to > at, "{:?} after {at:?}", chunk.to);
        let columns = Columns::of(&chunk, &mut reader.sessions);
        seqs.extend_from_slice(&columns.seq);
        gaps += columns.journal.gaps.len();
        at = chunk.to;
    }
    (seqs, at, gaps)
}

#[test]
fn what_is_not_synced_is_not_shipped() {
    let dir = dir();
    let (mut writer, _) = SpoolWriter::open(&config(&dir)).unwrap();
    let durable = writer.durable();
    write(&mut writer, 1..=5);
    let mut reader = reader(&dir);
    let (seqs, at, _) = read(&mut reader, Position::default(), *durable.borrow());
    assert_eq!((seqs, at), (Vec::new(), Position::default()));
    writer.sync().unwrap();
    let (seqs, ..) = read(&mut reader, at, *durable.borrow());
    assert_eq!(seqs, [1, 2, 3, 4, 5]);
}

#[test]
fn a_position_of_another_spool_is_not_accepted() {
    let (ours, theirs) = (dir(), dir());
    let durables: Vec<_> = [(&ours, 1), (&theirs, 2)]
        .into_iter()
        .map(|(dir, first)| {
            let (mut writer, _) = SpoolWriter::open(&config(dir)).unwrap();
            write(&mut writer, first..=first + 9);
            writer.sync().unwrap();
            *writer.durable().borrow()
        })
        .collect();
    let (_, at, _) = read(&mut reader(&ours), Position::default(), durables[0]);
    assert_eq!(durables[0], durables[1], "the same place, other content");
    let mut reader = reader(&theirs);
    assert_eq!(reader.seek(at, durables[1]).unwrap(), Sought::Elsewhere);
    let beyond = Position {
        segment: 9,
        ..Position::default()
    };
    assert_eq!(reader.seek(beyond, durables[1]).unwrap(), Sought::Elsewhere);
    let begin = Position::default();
    assert_eq!(reader.seek(begin, durables[1]).unwrap(), Sought::Here);
}

#[test]
fn segments_dropped_before_they_were_read_are_passed_over() {
    let dir = dir();
    let (mut writer, _) = SpoolWriter::open(&config(&dir)).unwrap();
    for first in (1..4000).step_by(100) {
        write(&mut writer, first..=first + 99);
    }
    writer.sync().unwrap();
    let durable = *writer.durable().borrow();
    fs::remove_file(SegmentFiles::new(&config(&dir).dir, 1).segment).unwrap();
    let mut reader = reader(&dir);
    let (seqs, at, _) = read(&mut reader, Position::default(), durable);
    assert!(!seqs.is_empty() && seqs.len() < 4000);
    assert_eq!(seqs.last(), Some(&4000));
    assert_eq!(reader.seek(at, durable).unwrap(), Sought::Here);
}

/// Writes one batch of sessions with one event each, then the journal that names them, as a trim copies them.
fn write_large(writer: &mut SpoolWriter, marks: std::ops::Range<u64>) -> Vec<SessionId> {
    let mut batch = BatchBuilder::new();
    let ids: Vec<_> = marks.map(|_| SessionId::generate()).collect();
    for (seq, id) in (1..).zip(&ids) {
        let mut exit = Exit::new_zeroed();
        exit.header = Header {
            len: 80,
            kind: KIND_EXIT,
            session: id.mark(),
            session_seq: seq,
            at: 100 + seq,
            ..Header::new_zeroed()
        };
        batch.push_event(id.mark(), None, exit.as_bytes()).unwrap();
    }
    for id in &ids {
        let opened = SessionOpened::unknown(*id, BootNs(5));
        batch
            .push_journal(&JournalEntry::Opened(Box::new(opened)))
            .unwrap();
    }
    let wall = WallOffset::from_ns(1_700_000_000_000_000_000);
    writer.commit_durable(&mut batch, None, wall).unwrap();
    ids
}

#[test]
fn a_batch_above_the_limits_is_read_in_parts() {
    let dir = dir();
    let (mut writer, _) = SpoolWriter::open(&config(&dir)).unwrap();
    let ids = write_large(&mut writer, 1..200);
    write(&mut writer, 1..=5);
    writer.sync().unwrap();
    let durable = *writer.durable().borrow();
    let (mut at, mut parts, mut found) = (Position::default(), 0, Vec::new());
    let mut shipper = reader(&dir);
    while let Some(chunk) = shipper.next(at, durable, LIMITS).unwrap() {
        let columns = Columns::of(&chunk, &mut shipper.sessions);
        assert!(columns.len() <= 20, "{} events", columns.len());
        assert_eq!(columns.journal.gaps.len(), 0);
        found.extend(columns.session.iter().flatten().copied());
        at = chunk.to;
        parts += 1;
        // A shipper that starts again continues in the middle of the batch, and knows its sessions.
        if parts % 3 == 0 {
            shipper = reader(&dir);
            assert_eq!(shipper.seek(at, durable).unwrap(), Sought::Here);
            let other = Position {
                check: at.check ^ 1,
                ..at
            };
            assert_eq!(
                reader(&dir).seek(other, durable).unwrap(),
                Sought::Elsewhere
            );
        }
    }
    assert!(parts > 10, "{parts} parts");
    let expected: Vec<_> = ids.iter().map(|id| id.as_uuid()).collect();
    assert_eq!(found[..ids.len()], expected);
    assert_eq!(found.len(), ids.len() + 5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_event_is_read_once_wherever_reading_stops_and_begins(
        batches in proptest::collection::vec((1..120_u64, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let dir = dir();
        let (mut writer, _) = SpoolWriter::open(&config(&dir)).unwrap();
        let mut reader = reader(&dir);
        let (mut at, mut last, mut seen) = (Position::default(), 0, Vec::new());
        for (events, looks, restarts) in batches {
            write(&mut writer, last + 1..=last + events);
            last += events;
            writer.sync().unwrap();
            if restarts {
                drop(writer);
                writer = SpoolWriter::open(&config(&dir)).unwrap().0;
                prop_assert_eq!(reader.seek(at, *writer.durable().borrow()).unwrap(), Sought::Here);
            }
            if looks {
                let (seqs, to, _) = read(&mut reader, at, *writer.durable().borrow());
                seen.extend(seqs);
                at = to;
            }
        }
        seen.extend(read(&mut reader, at, *writer.durable().borrow()).0);
        let all: Vec<_> = (1..=i64::try_from(last).unwrap()).collect();
        prop_assert_eq!(seen, all);
    }

    #[test]
    fn a_damaged_byte_costs_a_block_at_most_and_is_told(place: u32, change in 1..=255_u8) {
        let dir = dir();
        let (mut writer, _) = SpoolWriter::open(&config(&dir)).unwrap();
        for first in (1..200).step_by(10) {
            write(&mut writer, first..=first + 9);
        }
        writer.sync().unwrap();
        let durable = *writer.durable().borrow();
        let path = SegmentFiles::new(&config(&dir).dir, 0).segment;
        let mut bytes = fs::read(&path).unwrap();
        let place = FileHeader::LEN + place as usize % (bytes.len() - FileHeader::LEN);
        bytes[place] ^= change;
        fs::write(&path, bytes).unwrap();
        let (seqs, _, gaps) = read(&mut reader(&dir), Position::default(), durable);
        prop_assert!(seqs.len() >= 190, "{} of 200", seqs.len());
        prop_assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
        prop_assert!(seqs.len() == 200 || gaps > 0, "lost in silence");
    }
}
