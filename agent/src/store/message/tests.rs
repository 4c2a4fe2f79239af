use proptest::prelude::*;
use vctl_common::id::SessionId;
use vctl_common::session::{GapCause, JournalEntry, SessionOpened};
use vctl_common::spool::{BlockFacts, BlockKind, BlockPlace, write_journal_line};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::Mark;

use super::*;

fn sender() -> Sender {
    Sender {
        machine: Uuid::from_u128(1),
        spool: Uuid::from_u128(2),
    }
}

fn facts(kind: BlockKind, mark: Mark) -> BlockFacts {
    BlockFacts {
        kind,
        mark,
        serial: None,
        count: 1,
        first_seq: 1,
        last_seq: 1,
        first_at: BootNs(1),
        last_at: BootNs(2),
        wall_offset: WallOffset::from_ns(1_700_000_000_000_000_000),
    }
}

/// A chunk with the opening of a session, events of it, a damaged block and unreadable data.
fn chunk(session: SessionId, events: &[u8]) -> Chunk {
    let mut opening = Vec::new();
    let opened = SessionOpened::unknown(session, BootNs(5));
    write_journal_line(&mut opening, &JournalEntry::Opened(Box::new(opened)), None).unwrap();
    let mut chunk = Chunk {
        from: Position::default(),
        to: Position {
            segment: 3,
            offset: 4096,
            check: 9,
        },
        boot_id: BootId::from_uuid(Uuid::from_u128(7)),
        bytes: b"unused bytes before the payloads".to_vec(),
        blocks: Vec::new(),
        unreadable: vec![Gap::new(GapCause::SpoolDamaged, None, BootNs(1), BootNs(2))],
    };
    let blocks: [(BlockKind, &[u8], bool); 3] = [
        (BlockKind::Journal, &opening, true),
        (BlockKind::Events, b"damaged", false),
        (BlockKind::Events, events, true),
    ];
    for (nth, (kind, payload, is_readable)) in (0..).zip(blocks) {
        let facts = facts(kind, session.mark());
        let place = BlockPlace {
            offset: 400,
            nth,
            of: 3,
        };
        let start = chunk.bytes.len();
        chunk.bytes.extend_from_slice(payload);
        let range = start..chunk.bytes.len();
        chunk.blocks.push(Block {
            entry: BlockEntry::new(&facts, place, payload).unwrap(),
            payload: is_readable.then_some(range),
        });
    }
    chunk
}

fn message(session: SessionId) -> Vec<u8> {
    let chunk = chunk(session, b"events");
    let mut sessions = Sessions::default();
    sessions.learn_all(&chunk);
    encode(sender(), &chunk, &sessions)
}

#[test]
fn a_message_has_everything_of_its_chunk() {
    let session = SessionId::generate();
    let sent = chunk(session, b"events");
    let mut read = decode(&message(session)).unwrap();
    assert_eq!(
        (read.sender.machine, read.sender.spool),
        (Uuid::from_u128(1), Uuid::from_u128(2))
    );
    assert_eq!(read.agent_version, env!("CARGO_PKG_VERSION"));
    let got = &read.chunk;
    assert_eq!(
        (got.from, got.to, got.boot_id),
        (sent.from, sent.to, sent.boot_id)
    );
    assert_eq!(got.unreadable, sent.unreadable);
    let payloads = |chunk: &Chunk| -> Vec<_> {
        let bytes = |block: &Block| {
            block
                .payload
                .clone()
                .map(|range| chunk.bytes[range].to_vec())
        };
        chunk.blocks.iter().map(bytes).collect()
    };
    assert_eq!(payloads(got), payloads(&sent));
    assert!(got.damaged().count() == 1 && got.events().count() == 1);
    // The reader of the message knows the session by its whole id, without the journal.
    read.chunk.blocks.remove(0);
    assert_eq!(read.sessions.id(session.mark()), session);
}

#[test]
fn a_changed_payload_counts_as_damaged() {
    let mut bytes = message(SessionId::generate());
    *bytes.last_mut().unwrap() ^= 1;
    let read = decode(&bytes).unwrap();
    assert_eq!(read.chunk.damaged().count(), 2);
}

#[test]
fn a_newer_message_is_told_from_one_that_is_not_a_batch() {
    let mut bytes = message(SessionId::generate());
    bytes[4] = 2;
    assert_eq!(
        decode(&bytes).unwrap_err(),
        MessageError::Newer { version: 2 }
    );
    bytes[0] = b'X';
    assert!(matches!(
        decode(&bytes).unwrap_err(),
        MessageError::Malformed(_)
    ));
    bytes = message(SessionId::generate());
    bytes.push(0);
    assert!(matches!(
        decode(&bytes).unwrap_err(),
        MessageError::Malformed(_)
    ));
}

proptest! {
    #[test]
    fn no_message_makes_the_reader_panic(cut in 0_usize..2000, at in 0_usize..2000, with: u8, junk: Vec<u8>) {
        let mut bytes = message(SessionId::generate());
        let at = at % bytes.len();
        bytes[at] = with;
        bytes.truncate(cut.min(bytes.len()));
        let _ = decode(&bytes);
        let _ = decode(&junk);
    }
}

#[test]
fn a_long_list_of_damaged_blocks_is_read_at_once() {
    let session = SessionId::from_mark(9);
    let mut chunk = chunk(session, b"events");
    let damaged = chunk.blocks.swap_remove(1);
    // Nearly as many entries as a message may have.
    chunk.blocks = vec![damaged; 60_000];
    let message = encode(sender(), &chunk, &Sessions::default());
    let begun = std::time::Instant::now();
    assert_eq!(decode(&message).unwrap().chunk.blocks.len(), 60_000);
    // The square of 60,000 comparisons takes longer in a debug build.
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn damaged_blocks_are_named_once_and_in_order() {
    let message = message(SessionId::from_mark(9));
    for list in ["[1,1]", "[2,1]", "[1,9]"] {
        let len = u32::from_le_bytes(message[8..12].try_into().unwrap()) as usize;
        let header = String::from_utf8(message[12..12 + len].to_vec()).unwrap();
        let header = header.replace("\"damaged\":[1]", &format!("\"damaged\":{list}"));
        let len_field = u32::try_from(header.len()).unwrap().to_le_bytes();
        let changed = [
            &message[..8],
            &len_field,
            header.as_bytes(),
            &message[12 + len..],
        ]
        .concat();
        let error = decode(&changed).unwrap_err();
        assert!(
            matches!(error, MessageError::Malformed(_)),
            "{list}: {error}"
        );
    }
}

/// Returns the error for a chunk that was changed.
fn refused(change: impl FnOnce(&mut Chunk)) -> Option<MessageError> {
    let mut chunk = chunk(SessionId::from_mark(9), b"events");
    change(&mut chunk);
    decode(&encode(sender(), &chunk, &Sessions::default())).err()
}

#[test]
fn a_position_that_postgres_cannot_store_is_malformed() {
    let most = i64::MAX.cast_unsigned();
    assert_eq!(refused(|chunk| chunk.to.segment = most), None);
    let too_large = Some(MessageError::Malformed("its position is too large"));
    assert_eq!(refused(|chunk| chunk.to.segment = most + 1), too_large);
    assert_eq!(refused(|chunk| chunk.to.offset = u64::MAX), too_large);
    assert_eq!(refused(|chunk| chunk.from.segment = u64::MAX), too_large);
    assert_eq!(refused(|chunk| chunk.from.offset = u64::MAX), too_large);
    assert_eq!(
        refused(|chunk| chunk.from.segment = chunk.to.segment + 1),
        Some(MessageError::Malformed("it ends before it begins"))
    );
}

#[test]
fn a_message_of_countless_entries_is_malformed() {
    let with_lines = |count: usize| {
        refused(|chunk| {
            let payload = b"x\n".repeat(count);
            let block = &mut chunk.blocks[0];
            let facts = facts(BlockKind::Journal, 9);
            let place = BlockPlace {
                offset: 400,
                nth: 0,
                of: 3,
            };
            block.entry = BlockEntry::new(&facts, place, &payload).unwrap();
            block.payload = Some(chunk.bytes.len()..chunk.bytes.len() + payload.len());
            chunk.bytes.extend_from_slice(&payload);
        })
    };
    assert_eq!(with_lines(65_000), None);
    let too_many = Some(MessageError::Malformed("it has more than 65536 entries"));
    assert_eq!(with_lines(66_000), too_many);
    let with_gaps = refused(|chunk| {
        let gap = chunk.unreadable[0].clone();
        chunk.unreadable = vec![gap; 66_000];
    });
    assert_eq!(with_gaps, too_many);
}
