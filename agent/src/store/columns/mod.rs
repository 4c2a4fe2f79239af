//! Converts a chunk of the spool to the arguments of `ingest_v1`. No I/O.

use std::time::SystemTime;

use uuid::Uuid;
use vctl_common::event::{self, DecodeError, ExecTail};
use vctl_common::id::SessionId;
use vctl_common::session::{Gap, GapCause};
use vctl_common::spool::{BlockEntry, journal_lines, records};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::{self, CgroupMove, Exec, Exit, Header, Mark};

use super::chunk::Chunk;
use super::journal::{JournalRows, Sessions};

/// Each vector has one element per event.
#[derive(Debug, Default)]
pub(super) struct Columns<'a> {
    pub(super) journal: JournalRows,
    pub(super) session: Vec<Option<Uuid>>,
    pub(super) seq: Vec<i64>,
    pub(super) at: Vec<SystemTime>,
    pub(super) wall: Vec<i64>,
    pub(super) kind: Vec<i16>,
    pub(super) pid: Vec<i32>,
    pub(super) ppid: Vec<Option<i32>>,
    pub(super) uid: Vec<Option<i64>>,
    pub(super) status: Vec<Option<i32>>,
    pub(super) exe: Vec<Option<&'a [u8]>>,
    pub(super) cwd: Vec<Option<&'a [u8]>>,
    pub(super) filename: Vec<Option<&'a [u8]>>,
    pub(super) argv: Vec<Option<&'a [u8]>>,
    pub(super) head: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    /// Converts a chunk to columns. The journal is read first, because it may name a session after
    /// the session's first events.
    pub(super) fn of(chunk: &'a Chunk, sessions: &mut Sessions) -> Self {
        let mut columns = Self::default();
        let wall = |entry: &BlockEntry| entry.wall_offset();
        for (entry, payload) in chunk.journal() {
            let lines = payload.split(|&b| b == b'\n').filter(|l| !l.is_empty());
            let mut is_damaged = false;
            for (bytes, line) in lines.zip(journal_lines(entry.kind(), payload)) {
                let Ok(line) = line else {
                    is_damaged = true;
                    continue;
                };
                let boot_id = line.boot_id.unwrap_or(chunk.boot_id);
                sessions.learn(&line.entry, boot_id, wall(entry));
                columns
                    .journal
                    .take(bytes, &line, chunk.boot_id, wall(entry), sessions);
            }
            // One for all lines: each would have the times of the block.
            if is_damaged {
                let gap = gap(GapCause::SpoolDamaged, sessions, entry);
                columns.journal.take_gap(&gap, chunk.boot_id, wall(entry));
            }
        }
        for (entry, payload) in chunk.events() {
            let session = session(sessions, entry.mark());
            for record in records(payload) {
                if let Ok(row) = record.and_then(Row::of) {
                    columns.push(session, entry.wall_offset(), &row);
                    continue;
                }
                let gap = gap(GapCause::Undecodable, sessions, entry).with_events(1);
                columns.journal.take_gap(&gap, chunk.boot_id, wall(entry));
            }
        }
        for entry in chunk.damaged() {
            let gap = if entry.is_events() {
                entry.gap(GapCause::SpoolDamaged, session(sessions, entry.mark()))
            } else {
                gap(GapCause::SpoolDamaged, sessions, entry)
            };
            columns.journal.take_gap(&gap, chunk.boot_id, wall(entry));
        }
        for gap in &chunk.unreadable {
            columns.journal.take_gap(gap, chunk.boot_id, chunk.wall());
        }
        columns
    }

    pub(super) fn len(&self) -> usize {
        self.head.len()
    }

    fn push(&mut self, session: Option<SessionId>, wall: WallOffset, row: &Row<'a>) {
        let header = &row.header;
        self.session.push(session.map(SessionId::as_uuid));
        self.seq
            .push(i64::try_from(header.session_seq).unwrap_or(i64::MAX));
        self.at.push(wall.wall_time(BootNs(header.at)));
        self.wall.push(wall.as_ns());
        self.kind.push(header.kind.cast_signed());
        self.pid.push(header.tgid.cast_signed());
        self.ppid.push(row.ppid.map(u32::cast_signed));
        self.uid.push(row.euid.map(i64::from));
        self.status.push(row.status.map(u32::cast_signed));
        self.exe.push(row.tail.map(|tail| tail.exe));
        self.cwd.push(row.tail.map(|tail| tail.cwd));
        self.filename.push(row.tail.map(|tail| tail.filename));
        self.argv.push(row.tail.map(|tail| tail.argv));
        self.head.push(row.head);
    }
}

fn session(sessions: &Sessions, mark: Mark) -> Option<SessionId> {
    (mark != 0).then(|| sessions.id(mark))
}

fn gap(cause: GapCause, sessions: &Sessions, entry: &BlockEntry) -> Gap {
    let session = session(sessions, entry.mark());
    Gap::new(cause, session, entry.first_at(), entry.last_at())
}

/// One wire record, split at the borders of the columns: `head` and the strings of `tail` together
/// are its bytes.
#[derive(Debug)]
struct Row<'a> {
    header: Header,
    ppid: Option<u32>,
    euid: Option<u32>,
    status: Option<u32>,
    head: &'a [u8],
    tail: Option<ExecTail<'a>>,
}

impl<'a> Row<'a> {
    /// # Errors
    /// The bytes are shorter than a header. A record of an unknown kind, or with an invalid rest,
    /// is stored unchanged.
    fn of(record: &'a [u8]) -> Result<Self, DecodeError> {
        let mut row = Self {
            header: event::header(record)?,
            ppid: None,
            euid: None,
            status: None,
            head: record,
            tail: None,
        };
        match row.header.kind {
            wire::KIND_EXEC | wire::KIND_EXEC_FAILED => {
                if let Ok(exec) = event::fixed::<Exec>(record)
                    && let Ok(tail) = event::exec_tail(&exec, record)
                    && let Some(head) = record.get(..size_of::<Exec>())
                {
                    (row.head, row.tail) = (head, Some(tail));
                    (row.ppid, row.euid) = (Some(exec.ppid), Some(exec.euid));
                    row.status = (row.header.kind == wire::KIND_EXEC_FAILED).then_some(exec.errno);
                }
            }
            wire::KIND_EXIT => {
                if let Ok(exit) = event::fixed::<Exit>(record) {
                    (row.ppid, row.euid) = (Some(exit.ppid), Some(exit.euid));
                    row.status = Some(exit.status & 0xffff);
                }
            }
            _ => {}
        }
        Ok(row)
    }
}

// An addition to a record changes `wire::VERSION`; readers of `kernel_event.head` then have to know
// the new form.
const _: () = assert!(size_of::<Exec>() == 160 && size_of::<CgroupMove>() == 88);

#[cfg(test)]
mod tests;
