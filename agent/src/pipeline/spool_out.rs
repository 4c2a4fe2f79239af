//! The way into the spool: the batch, the journal entries that follow it, and the part of the ring that a stored
//! batch frees.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::SystemTime;

use tracing::{error, info, warn};
use vctl_common::causes::WithCauses;
use vctl_common::event::{self, DecodeError};
use vctl_common::id::CertSerial;
use vctl_common::session::{Gap, GapCause, JournalEntry, SessionClosed, SessionOpened};
use vctl_common::spool::RingPosition;
use vctl_common::status::{CollectorStatus, Loss};
use vctl_common::time::{WallOffset, wall_now};
use vctl_common::wire::{self, Header, Mark};

use crate::local_log::{Line, LocalLog};
use crate::probe::ring::Ring;
use crate::session::boot_now;
use crate::spool::{BatchBuilder, SpoolError, SpoolWriter};
use crate::store::Progress;

use super::outbox::Outbox;

/// The spool as the collector writes it, together with the position in the ring.
pub(super) struct SpoolOut {
    writer: SpoolWriter,
    batch: BatchBuilder,
    /// Journal entries that follow the events now in the ring.
    outbox: Outbox,
    ring: Rc<Ring>,
    ring_id: u64,
    /// Where the ring is read next; everything before it is in the spool.
    position: u64,
    /// End in the ring of a batch that could not be written and is tried again.
    unwritten: Option<u64>,
    /// Why the spool cannot be written, while it cannot.
    problem: Option<String>,
    losses: BTreeMap<GapCause, Loss>,
    /// Numbers of earlier collectors of this boot; the writer counts from when it was opened.
    stored_before: u64,
    dropped_before: Loss,
    /// Progress of the shipper, if one runs.
    shipped: Option<Progress>,
    local_log: Option<LocalLog>,
}

impl SpoolOut {
    /// Continues after `stored`, the end of the last batch in the spool, if it is of this ring.
    pub(super) fn new(
        writer: SpoolWriter,
        stored: Option<RingPosition>,
        (ring, ring_id): (Rc<Ring>, u64),
        before: &CollectorStatus,
        local_log: Option<LocalLog>,
    ) -> Self {
        let stored = stored.filter(|stored| stored.ring_id == ring_id);
        let stored = stored.map(|stored| stored.end);
        let read = ring.position();
        let backlog = ring.backlog();
        // After a `kill -9` between write and release, the ring still has records that are stored.
        let position = stored
            .filter(|end| end.wrapping_sub(read) <= backlog)
            .unwrap_or(read);
        ring.give_back(position);
        let dropped_before = before.losses.get(&GapCause::SpoolCap).copied();
        Self {
            writer,
            batch: BatchBuilder::new(),
            outbox: Outbox::default(),
            ring,
            ring_id,
            position,
            unwritten: None,
            problem: None,
            losses: before.losses.clone(),
            stored_before: before.events_stored,
            dropped_before: dropped_before.unwrap_or_default(),
            shipped: None,
            local_log,
        }
    }

    pub(super) fn ring(&self) -> Rc<Ring> {
        Rc::clone(&self.ring)
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The reason why the spool cannot be written, while it cannot.
    pub(super) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(super) fn has_entries(&self) -> bool {
        !self.outbox.is_empty()
    }

    pub(super) fn push_event(
        &mut self,
        mark: Mark,
        serial: Option<CertSerial>,
        record: &[u8],
    ) -> Result<(), DecodeError> {
        self.batch.push_event(mark, serial, record)
    }

    /// Adds an entry to the batch, behind the events that are in it.
    pub(super) fn push_entry(&mut self, entry: &JournalEntry) {
        if let Err(error) = self.batch.push_journal(entry) {
            error!(error = %WithCauses(&error), "A journal entry cannot be written.");
        }
        self.log_entry(entry);
    }

    fn log_entry(&mut self, entry: &JournalEntry) {
        if let Some(log) = &mut self.local_log {
            log.send(&Line::of_entry(entry));
        }
    }

    /// Sends a program of a session to the log of the host. The record is redacted.
    pub(super) fn log_program(&mut self, session: &SessionOpened, header: &Header, record: &[u8]) {
        if let Some(log) = &mut self.local_log
            && matches!(header.kind, wire::KIND_EXEC | wire::KIND_EXEC_FAILED)
            && let Ok(event) = event::decode(record)
            && let Some(line) = Line::program(session, &event)
        {
            log.send(&line);
        }
    }

    /// Adds the beginning of a session, of `len` bytes, before all entries that wait. Returns false, and adds nothing, when
    /// too much waits.
    pub(super) fn begin_later(&mut self, opened: JournalEntry, len: usize) -> bool {
        self.outbox.begin(opened, len)
    }

    /// Adds the end of a session behind the events that are now in the ring.
    pub(super) fn end(&mut self, closed: SessionClosed) {
        self.outbox.end(closed);
    }

    /// Counts a gap and adds it behind the events that are now in the ring.
    pub(super) fn gap(&mut self, gap: Gap) {
        self.losses.entry(gap.cause).or_default().add(gap.events);
        warn!(
            cause = ?gap.cause,
            events = gap.events,
            session = gap.session.map(tracing::field::display),
            "Events are missing."
        );
        self.outbox.gap(gap);
    }

    /// Tries the batch again that could not be written; returns false when it still cannot.
    pub(super) fn retry(&mut self) -> bool {
        self.unwritten.is_none_or(|to| self.commit(to))
    }

    /// Writes what waits, without reading on in the ring.
    pub(super) fn flush(&mut self) {
        self.commit(self.unwritten.unwrap_or(self.position));
    }

    /// Writes the batch and the waiting entries, and only then gives back the ring up to `to`. After a failure
    /// the events stay in the ring and the batch is kept as it is: a new one would count its events twice and
    /// would not know the sessions that ended in it.
    pub(super) fn commit(&mut self, to: u64) -> bool {
        // In a batch that cannot be written they would have no limit.
        if self
            .unwritten
            .is_some_and(|unwritten| !self.write(unwritten))
        {
            return false;
        }
        while let Some(entry) = self.outbox.take() {
            self.push_entry(&entry);
        }
        self.write(to)
    }

    fn write(&mut self, to: u64) -> bool {
        let nothing = self.batch.is_empty();
        self.note_shipped();
        let ring = RingPosition {
            ring_id: self.ring_id,
            end: to,
        };
        let result = self
            .writer
            .commit(&mut self.batch, Some(ring), wall_offset())
            .and_then(|()| if nothing { Ok(()) } else { self.writer.sync() });
        match result {
            Ok(()) | Err(SpoolError::Sync { .. }) => {
                self.unwritten = None;
                self.position = to;
                self.ring.give_back(to);
            }
            Err(_) => self.unwritten = Some(to),
        }
        self.note_result(result)
    }

    /// Writes one entry durably, past the ring. Between two drains the batch is empty, except for one that could
    /// not be written: then this fails.
    pub(super) fn write_now(&mut self, entry: &JournalEntry) -> bool {
        if self.unwritten.is_some() {
            return false;
        }
        let written = self.batch.push_journal(entry).and_then(|()| {
            self.writer
                .commit_durable(&mut self.batch, None, wall_offset())
        });
        self.batch.clear();
        if written.is_ok() {
            self.log_entry(entry);
        }
        self.note_result(written)
    }

    /// Remembers whether the spool can be written, and logs when that changes.
    fn note_result(&mut self, result: Result<(), SpoolError>) -> bool {
        let Err(error) = result else {
            if self.problem.take().is_some() {
                info!("The spool can be written again.");
            }
            return true;
        };
        let why = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        if self.problem.is_none() {
            error!(
                error = why,
                "The spool cannot be written; events stay in the ring."
            );
        }
        self.problem = Some(why);
        matches!(error, SpoolError::Sync { .. })
    }

    pub(super) fn writer(&self) -> &SpoolWriter {
        &self.writer
    }

    pub(super) fn bytes_by_session(&self) -> HashMap<Mark, u64> {
        self.writer.bytes_by_session()
    }

    /// Takes the position from the shipper from now on.
    pub(super) fn follow(&mut self, shipped: Progress) {
        self.shipped = Some(shipped);
    }

    /// Tells the writer which part of the spool the centre has.
    pub(super) fn note_shipped(&mut self) {
        let position = self.shipped.as_ref().and_then(Progress::shipped);
        if let Some(position) = position {
            self.writer.note_shipped(position);
        }
    }

    /// Drops closed sessions that were shipped and ended before `before`.
    pub(super) fn drop_expired(&mut self, before: SystemTime) {
        if let Err(error) = self.writer.drop_expired(before) {
            warn!(error = %WithCauses(&error), "Old spool segments could not be dropped.");
        }
    }

    pub(super) fn report(&self, status: &mut CollectorStatus) {
        let spool = self.writer.stats();
        status.losses.clone_from(&self.losses);
        status.events_stored = self.stored_before + spool.events_stored;
        let dropped = spool.events_dropped + spool.unattributed_dropped;
        let before = self.dropped_before;
        if dropped > 0 || before != Loss::default() {
            let events = before.events + dropped;
            status
                .losses
                .insert(GapCause::SpoolCap, Loss { events, ..before });
        }
        status.ring_used_bytes = self.ring.backlog();
        status.spool_bytes = spool.bytes;
        status.local_log = self.local_log.as_ref().map(LocalLog::status);
    }
}

/// Reads both clocks at one moment.
fn wall_offset() -> WallOffset {
    WallOffset::between(boot_now(), wall_now())
}
