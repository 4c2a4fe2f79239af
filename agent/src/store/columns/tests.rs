use proptest::prelude::*;
use vctl_common::id::BootId;
use vctl_common::session::JournalEntry;
use vctl_common::spool::{BlockFacts, BlockKind, BlockPlace, write_journal_line};

use super::super::chunk::Block;
use super::*;
use crate::spool::Position;

fn boot(n: u128) -> BootId {
    BootId::from_uuid(Uuid::from_u128(n))
}

/// Returns a chunk of blocks with these payloads, all of one session.
fn chunk(blocks: &[(BlockKind, Vec<u8>)]) -> Chunk {
    let mut chunk = Chunk {
        from: Position::default(),
        to: Position::default(),
        boot_id: boot(1),
        bytes: Vec::new(),
        blocks: Vec::new(),
        unreadable: Vec::new(),
    };
    for (kind, payload) in blocks {
        let facts = BlockFacts {
            kind: *kind,
            mark: 77,
            serial: None,
            count: 1,
            first_seq: 1,
            last_seq: 1,
            first_at: BootNs(1),
            last_at: BootNs(2),
            wall_offset: WallOffset::from_ns(1_700_000_000_000_000_000),
        };
        let place = BlockPlace {
            offset: 400,
            nth: 0,
            of: 1,
        };
        let start = chunk.bytes.len();
        chunk.bytes.extend_from_slice(payload);
        chunk.blocks.push(Block {
            entry: BlockEntry::new(&facts, place, payload).unwrap(),
            payload: Some(start..chunk.bytes.len()),
        });
    }
    chunk
}

fn header(kind: u16, len: usize) -> Header {
    Header {
        len: u32::try_from(len).unwrap(),
        kind,
        marked: 0,
        session: 77,
        session_seq: 1,
        cpu_seq: 1,
        at: 5,
        tgid: 42,
        cpu: 0,
        start: 1,
    }
}

fn exec(kind: u16, strings: [&[u8]; 4]) -> Vec<u8> {
    use zerocopy::{FromZeros, IntoBytes};
    let tail = strings.concat();
    let mut exec = Exec::new_zeroed();
    exec.header = header(kind, size_of::<Exec>() + tail.len());
    exec.euid = u32::MAX;
    exec.errno = 13;
    exec.exe_len = u16::try_from(strings[0].len()).unwrap();
    exec.cwd_len = u16::try_from(strings[1].len()).unwrap();
    exec.filename_len = u16::try_from(strings[2].len()).unwrap();
    exec.argv_len = u32::try_from(strings[3].len()).unwrap();
    [exec.as_bytes(), &tail].concat()
}

/// Builds the record from the columns, as a reader does.
fn put_together(columns: &Columns<'_>, nth: usize) -> Vec<u8> {
    let strings = [
        columns.exe[nth],
        columns.cwd[nth],
        columns.filename[nth],
        columns.argv[nth],
    ];
    let mut record = columns.head[nth].to_vec();
    for string in strings.into_iter().flatten() {
        record.extend_from_slice(string);
    }
    record
}

proptest! {
    #[test]
    fn the_columns_of_a_record_are_its_bytes(
        exe: Vec<u8>, cwd: Vec<u8>, filename: Vec<u8>, argv: Vec<u8>, failed: bool,
    ) {
        let kind = if failed { wire::KIND_EXEC_FAILED } else { wire::KIND_EXEC };
        let record = exec(kind, [&exe, &cwd, &filename, &argv]);
        let chunk = chunk(&[(BlockKind::Events, record.clone())]);
        let columns = Columns::of(&chunk, &mut Sessions::default());
        prop_assert_eq!(put_together(&columns, 0), record);
        prop_assert_eq!(columns.argv[0], Some(argv.as_slice()));
        prop_assert_eq!(columns.uid[0], Some(i64::from(u32::MAX)));
        prop_assert_eq!(columns.status[0], failed.then_some(13));
    }

    #[test]
    fn any_bytes_with_a_header_are_stored_as_they_are(kind: u16, rest: Vec<u8>) {
        use zerocopy::IntoBytes as _;
        let header = header(kind, size_of::<Header>() + rest.len());
        let record = [header.as_bytes(), &rest].concat();
        let chunk = chunk(&[(BlockKind::Events, record.clone())]);
        let columns = Columns::of(&chunk, &mut Sessions::default());
        prop_assert_eq!(columns.len(), 1);
        prop_assert_eq!(put_together(&columns, 0), record);
    }

    #[test]
    fn no_bytes_make_a_panic(payload: Vec<u8>, journal: Vec<u8>) {
        let chunk = chunk(&[(BlockKind::Events, payload), (BlockKind::Journal, journal)]);
        let columns = Columns::of(&chunk, &mut Sessions::default());
        prop_assert_eq!(columns.seq.len(), columns.len());
    }
}

#[test]
fn invalid_and_damaged_records_are_gaps_of_the_session() {
    let mut chunk = chunk(&[
        (BlockKind::Events, b"short".to_vec()),
        (
            BlockKind::Events,
            exec(wire::KIND_EXEC, [b"", b"", b"", b""]),
        ),
    ]);
    chunk.blocks[1].payload = None;
    let columns = Columns::of(&chunk, &mut Sessions::default());
    assert_eq!(columns.len(), 0);
    let gaps = serde_json::to_value(&columns.journal.gaps).unwrap();
    let causes: Vec<_> = gaps
        .as_array()
        .unwrap()
        .iter()
        .map(|g| &g["cause"])
        .collect();
    assert_eq!(causes, ["undecodable", "spool_damaged"]);
    assert_eq!(gaps[0]["session"], gaps[1]["session"]);
    assert_eq!(gaps[1]["events"], 1);
}

#[test]
fn a_carried_entry_is_the_entry_it_repeats_and_nul_is_no_text() {
    let gap = Gap::new(GapCause::ProbeAway, None, BootNs(1), BootNs(u64::MAX));
    let gap = JournalEntry::Gap(gap);
    let line = |boot_id| {
        let mut line = Vec::new();
        write_journal_line(&mut line, &gap, boot_id).unwrap();
        line
    };
    let blocks = [
        (BlockKind::Journal, line(None)),
        (BlockKind::CarriedJournal, line(Some(boot(9)))),
    ];
    let chunk = chunk(&blocks);
    let columns = Columns::of(&chunk, &mut Sessions::default());
    let gaps = serde_json::to_value(&columns.journal.gaps).unwrap();
    assert_eq!(gaps[0]["entry"], serde_json::to_string(&gap).unwrap());
    assert_eq!(gaps[1]["entry"], gaps[0]["entry"]);
    assert_eq!(gaps[1]["boot_id"], boot(9).to_string());
    // The end of an unreadable part is unknown, so it is the end of time.
    assert!(gaps[0]["to_at"].as_str().unwrap().starts_with("2262"));
}

#[test]
fn that_a_copy_was_dropped_here_is_no_gap_at_the_centre() {
    let shipped = Gap::new(GapCause::Shipped, None, BootNs(1), BootNs(2));
    let shipped = JournalEntry::Gap(shipped.with_events(4).with_numbers(1, 4));
    let mut line = Vec::new();
    write_journal_line(&mut line, &shipped, None).unwrap();
    let chunk = chunk(&[(BlockKind::Journal, line)]);
    let columns = Columns::of(&chunk, &mut Sessions::default());
    assert!(columns.journal.gaps.is_empty());
}

#[test]
fn a_journal_block_of_damaged_lines_is_one_gap() {
    let mut payload = b"x\n".repeat(1000);
    let closing = JournalEntry::Gap(Gap::new(GapCause::ProbeAway, None, BootNs(1), BootNs(2)));
    write_journal_line(&mut payload, &closing, None).unwrap();
    payload.extend_from_slice(b"y\n");
    let chunk = chunk(&[(BlockKind::Journal, payload)]);
    let gaps = Columns::of(&chunk, &mut Sessions::default()).journal.gaps;
    let damaged = format!("{gaps:?}").matches("spool_damaged\\\"").count();
    assert_eq!((gaps.len(), damaged), (2, 1), "{gaps:?}");
}
