//! A chunk of the spool as one message of JetStream, with what its reader needs and cannot look up. No I/O.
//!
//! ```text
//! "VCTL" | version | length of the header | header, JSON | block entries | payloads
//! ```
//!
//! Numbers are 32 bits, little endian. Entries and payloads are the spool's own bytes. The name of the host is not in
//! the message: the server states it, by the account of the publisher.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vctl_common::id::BootId;
use vctl_common::session::Gap;
use vctl_common::spool::{BlockEntry, records};
use vctl_common::time::WallOffset;
use zerocopy::FromBytes as _;

use super::chunk::{Block, Chunk};
use super::journal::{NamedSession, Sessions};
use crate::spool::Position;

/// Version of the message. It changes with the format of the spool or of its records.
const VERSION: u32 = 1;
const MAGIC: &[u8; 4] = b"VCTL";
/// Length of everything before the header.
const PREFIX: usize = 12;
/// Most blocks, journal lines, records and gaps together. Postgres refuses more of one kind, and a consumer needs several
/// hundred bytes for each. An agent sends a few thousand.
const MOST_ENTRIES: usize = 65_536;

/// Identity of the shipper.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) machine: Uuid,
    pub(crate) spool: Uuid,
}

/// The message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    #[error("a message of version {version} needs a newer `vctl-agent ingest`")]
    Newer { version: u32 },
    #[error("the message is not a batch of `vctl-agent`: {0}")]
    Malformed(&'static str),
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    machine: Uuid,
    boot_id: BootId,
    agent_version: String,
    spool: Uuid,
    from: Position,
    to: Position,
    blocks: u32,
    /// Indexes of the blocks that were damaged in the spool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    damaged: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unreadable: Vec<Gap>,
    /// The sessions of the blocks, as far as the spool names them.
    sessions: Vec<NamedSession>,
}

/// A message that was read.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) sender: Sender,
    pub(crate) agent_version: String,
    pub(crate) chunk: Chunk,
    pub(crate) sessions: Sessions,
    /// A gap that this reader found in another boot than the chunk's, with that boot and its clock.
    pub(crate) earlier_boot: Option<(Uuid, Gap, WallOffset)>,
}

/// Returns a chunk as a message. `sessions` knows the chunk's journal.
pub(super) fn encode(sender: Sender, chunk: &Chunk, sessions: &Sessions) -> Vec<u8> {
    let index = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let is_damaged = |block: &Block| block.payload.is_none();
    let damaged = (0..)
        .zip(&chunk.blocks)
        .filter(|(_, block)| is_damaged(block));
    let header = Header {
        machine: sender.machine,
        boot_id: chunk.boot_id,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        spool: sender.spool,
        from: chunk.from,
        to: chunk.to,
        blocks: index(chunk.blocks.len()),
        damaged: damaged.map(|(n, _)| n).collect(),
        unreadable: chunk.unreadable.clone(),
        sessions: sessions.named(chunk.blocks.iter().map(|block| block.entry.mark())),
    };
    // These types have no map with other keys than text, the only thing that JSON refuses.
    let header = serde_json::to_vec(&header).unwrap_or_default();
    let payloads = chunk
        .blocks
        .iter()
        .filter_map(|block| chunk.bytes.get(block.payload.clone()?));
    let table = chunk.blocks.len() * BlockEntry::LEN;
    let mut out = Vec::with_capacity(PREFIX + header.len() + table + chunk.payload_bytes());
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&index(header.len()).to_le_bytes());
    out.extend_from_slice(&header);
    for block in &chunk.blocks {
        out.extend_from_slice(BlockEntry::encoded(std::slice::from_ref(&block.entry)));
    }
    for payload in payloads {
        out.extend_from_slice(payload);
    }
    out
}

/// Returns the spool of a message; `None` for other bytes.
pub(crate) fn spool_of(bytes: &[u8]) -> Option<Uuid> {
    Some(decode(bytes).ok()?.sender.spool)
}

/// Reads a message. A payload that does not fit its entry counts as damaged.
///
/// # Errors
/// The message is of a newer version, or not a batch at all.
pub(crate) fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
    let malformed = MessageError::Malformed;
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if bytes.get(..4) != Some(MAGIC) {
        return Err(malformed("it begins with other bytes"));
    }
    match number(4) {
        Some(VERSION) => {}
        Some(version) if version > VERSION => return Err(MessageError::Newer { version }),
        _ => return Err(malformed("it has no version")),
    }
    let len = number(8).and_then(|len| usize::try_from(len).ok());
    let rest = bytes.get(PREFIX..).zip(len);
    let (header, rest) = rest
        .and_then(|(rest, len)| rest.split_at_checked(len))
        .ok_or(malformed("its header is cut off"))?;
    let header: Header =
        serde_json::from_slice(header).map_err(|_| malformed("its header is not valid"))?;
    let blocks = usize::try_from(header.blocks).unwrap_or(usize::MAX);
    let (table, payloads) = <[BlockEntry]>::ref_from_prefix_with_elems(rest, blocks)
        .map_err(|_| malformed("its table is cut off"))?;
    check_positions(header.from, header.to)?;
    let chunk = chunk(&header, table, payloads)?;
    if entries(&chunk) > MOST_ENTRIES {
        return Err(malformed("it has more than 65536 entries"));
    }
    Ok(Message {
        sender: Sender {
            machine: header.machine,
            spool: header.spool,
        },
        agent_version: header.agent_version,
        chunk,
        sessions: Sessions::of(header.sessions),
        earlier_boot: None,
    })
}

/// Postgres has signed numbers, so it would store another position and the cursor would never reach this one.
fn check_positions(from: Position, to: Position) -> Result<(), MessageError> {
    let fits = |number: u64| i64::try_from(number).is_ok();
    if ![from.segment, from.offset, to.segment, to.offset]
        .into_iter()
        .all(fits)
    {
        return Err(MessageError::Malformed("its position is too large"));
    }
    if (to.segment, to.offset) < (from.segment, from.offset) {
        return Err(MessageError::Malformed("it ends before it begins"));
    }
    Ok(())
}

/// Returns the number of entries that become rows.
fn entries(chunk: &Chunk) -> usize {
    let lines = |payload: &[u8]| payload.split(|&byte| byte == b'\n').count();
    let lines: usize = chunk.journal().map(|(_, payload)| lines(payload)).sum();
    let events = chunk.events().map(|(_, payload)| records(payload).count());
    chunk.blocks.len() + chunk.unreadable.len() + lines + events.sum::<usize>()
}

fn chunk(header: &Header, table: &[BlockEntry], payloads: &[u8]) -> Result<Chunk, MessageError> {
    let malformed = MessageError::Malformed;
    // Each is compared with the next one only: a search in the list for each block would take minutes.
    if !header.damaged.is_sorted_by(|a, b| a < b) {
        return Err(malformed("its damaged blocks are not in order"));
    }
    let mut damaged = header.damaged.iter().copied().peekable();
    let mut blocks = Vec::new();
    let mut next = 0;
    for (n, entry) in (0..).zip(table) {
        if !entry.is_whole() {
            return Err(malformed("an entry of its table is damaged"));
        }
        if damaged.next_if_eq(&n).is_some() {
            blocks.push(Block {
                entry: *entry,
                payload: None,
            });
            continue;
        }
        let range = next..next + entry.len();
        let payload = payloads
            .get(range.clone())
            .ok_or(malformed("its payloads are cut off"))?;
        next = range.end;
        blocks.push(Block {
            entry: *entry,
            payload: entry.owns(payload).then_some(range),
        });
    }
    if damaged.peek().is_some() {
        return Err(malformed("a damaged block is not in its table"));
    }
    if next != payloads.len() {
        return Err(malformed("bytes follow its payloads"));
    }
    Ok(Chunk {
        from: header.from,
        to: header.to,
        boot_id: header.boot_id,
        bytes: payloads.to_vec(),
        blocks,
        unreadable: header.unreadable.clone(),
    })
}

#[cfg(test)]
mod tests;
