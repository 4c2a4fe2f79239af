//! Appends batches, and begins a new segment when one is full.

use std::collections::HashMap;
use std::fs::File;
use std::time::SystemTime;

use tokio::sync::watch;
use uuid::Uuid;
use vctl_common::causes::WithCauses;
use vctl_common::id::SessionId;
use vctl_common::spool::{BlockEntry, FileHeader, RingPosition, SegmentFiles};
use vctl_common::time::WallOffset;
use vctl_common::wire::Mark;

use super::active::Active;
use super::batch::{BatchBuilder, Change, serial_of};
use super::disk::{Disk, HostDisk};
use super::error::SpoolError;
use super::owner::Owner;
use super::position::{self, Durable, Position};
use super::recover::{self, Recovered};
use super::segment_state::{Live, Sealed, SpoolConfig};

/// The content of the spool and its losses, for status and loss accounting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub segments: u64,
    pub bytes: u64,
    pub open_sessions: u64,
    /// Counted since the writer was opened, like all that follow.
    pub events_stored: u64,
    pub batches_stored: u64,
    pub segments_dropped: u64,
    /// Dropped events, each in a gap of its session.
    pub events_dropped: u64,
    /// As `events_dropped`, for events without a session: only counted here.
    pub unattributed_dropped: u64,
    pub failed_syncs: u64,
    /// Bytes of segments that are not shipped; 0 without a shipper.
    pub unshipped_bytes: u64,
}

/// The only writer of a spool; a lock on the directory excludes others.
#[derive(Debug)]
pub struct SpoolWriter<D: Disk = HostDisk> {
    pub(super) config: SpoolConfig,
    pub(super) disk: D,
    pub(super) active: Active,
    /// Oldest first.
    pub(super) sealed: Vec<Sealed>,
    pub(super) live: HashMap<Mark, Live>,
    /// Owners of the sessions with events here, as far as they were looked up.
    pub(super) owners: HashMap<Mark, Owner>,
    pub(super) ring: Option<RingPosition>,
    next_number: u64,
    /// The active segment must not be written any more.
    must_rotate: bool,
    encoded: Vec<u8>,
    table: Vec<BlockEntry>,
    pub(super) stats: Stats,
    id: Uuid,
    durable: watch::Sender<Durable>,
    /// The shipped position, at least; `None` without a shipper.
    pub(super) shipped: Option<Position>,
    _lock: File,
}

impl SpoolWriter {
    /// Opens the spool, repairs the damage of a crash, and returns the state of the sessions.
    ///
    /// # Errors
    /// The directory or a file in it is not as the agent leaves it, another agent uses it, or a newer version
    /// wrote it. Then nothing is changed.
    pub fn open(config: &SpoolConfig) -> Result<(Self, Recovered), SpoolError> {
        Self::open_on(config, HostDisk)
    }
}

impl<D: Disk> SpoolWriter<D> {
    pub fn open_on(config: &SpoolConfig, mut disk: D) -> Result<(Self, Recovered), SpoolError> {
        let mut found = recover::recover(config, &mut disk)?;
        let id = position::id(&config.dir).map_err(|source| SpoolError::Prepare {
            path: config.dir.clone(),
            source,
        })?;
        let mut next_number = found.next_number;
        let shipped = position::shipped(&config.dir, id);
        let active = match found.active.take() {
            Some(active) => active,
            None => loop {
                match new_segment(config, &mut disk, &mut next_number) {
                    Ok(active) => break active,
                    // On a full disk, room is made by what needs no copy, if there is any.
                    Err(full @ SpoolError::Full { .. }) => {
                        if !found.remove_shipped(shipped, &config.dir, &mut disk)? {
                            return Err(full);
                        }
                    }
                    Err(error) => return Err(error),
                }
            },
        };
        let mut writer = Self {
            config: config.clone(),
            disk,
            active,
            sealed: found.sealed,
            live: found.live,
            owners: HashMap::new(),
            ring: found.recovered.ring,
            next_number,
            must_rotate: false,
            encoded: Vec::new(),
            table: Vec::new(),
            stats: Stats::default(),
            id,
            durable: watch::Sender::new(Durable::default()),
            shipped,
            _lock: found.lock,
        };
        // A resumed segment has its head, unless a crash came before the end of it.
        writer.write_head()?;
        writer.make_room_or_warn();
        // Makes the batches of an earlier process ready to ship. After a failure `must_rotate` is set, and the
        // next segment makes them so.
        let _ = writer.sync();
        Ok((writer, found.recovered))
    }

    /// Stores a batch and empties it; it survives the end of this process.
    ///
    /// `ring` is the position up to which this batch has read the ring, `None` when nothing in it is from the
    /// ring. `wall` converts the batch's boot times into wall time.
    ///
    /// # Errors
    /// Nothing of the batch is stored, and `batch` is unchanged.
    pub fn commit(
        &mut self,
        batch: &mut BatchBuilder,
        ring: Option<RingPosition>,
        wall: WallOffset,
    ) -> Result<(), SpoolError> {
        if batch.is_empty() {
            return Ok(());
        }
        let segment_bytes = self.config.segment_bytes;
        if self.must_rotate || self.active.is_full(batch.disk_len(), segment_bytes) {
            self.rotate()?;
        }
        self.append(batch, ring.or(self.ring), wall)?;
        self.ring = ring.or(self.ring);
        for change in batch.changes.drain(..) {
            match change {
                Change::Opened(mut opened) => {
                    opened.shorten();
                    let live = Live {
                        opened: *opened,
                        boot_id: self.config.boot_id,
                        wall,
                    };
                    let mark = live.opened.id.mark();
                    self.owners.insert(mark, Owner::of(&live.opened));
                    self.live.insert(mark, live);
                }
                Change::Closed(mark) => {
                    self.live.remove(&mark);
                }
            }
        }
        batch.clear();
        Ok(())
    }

    /// As `commit`, and durable when it returns.
    ///
    /// # Errors
    /// After [`SpoolError::Sync`] the batch is stored and emptied, but perhaps not durable; after any other
    /// error it is unchanged.
    pub fn commit_durable(
        &mut self,
        batch: &mut BatchBuilder,
        ring: Option<RingPosition>,
        wall: WallOffset,
    ) -> Result<(), SpoolError> {
        self.commit(batch, ring, wall)?;
        self.sync()
    }

    /// Makes all committed batches durable.
    ///
    /// # Errors
    /// [`SpoolError::Sync`]. It is not tried again for the same data: the kernel would report success in any
    /// case.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        self.active.sync(&mut self.disk).map_err(|source| {
            self.stats.failed_syncs += 1;
            self.must_rotate = true;
            self.active.dirty = false;
            SpoolError::sync(&self.active.files.segment, source)
        })?;
        // After a failure nothing is dirty, but nothing is certain either.
        if !self.must_rotate {
            let durable = Durable {
                segment: self.active.files.number,
                end: self.active.end,
            };
            self.durable.send_if_modified(|before| {
                let grown = *before != durable;
                *before = durable;
                grown
            });
        }
        Ok(())
    }

    /// Returns the name of this spool at the centre.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns a watch on the end up to which the spool may be shipped.
    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    /// Returns the shipped position, at least; `None` when nothing was ever shipped.
    pub fn shipped(&self) -> Option<Position> {
        self.shipped
    }

    /// Sets the shipped position: everything before may be dropped without a loss.
    pub fn note_shipped(&mut self, position: Position) {
        self.shipped = Some(position);
    }

    /// Drops segments that were shipped, have no open session, and ended before `before`.
    ///
    /// # Errors
    /// As `commit`; a segment that could not be dropped is still there.
    pub fn drop_expired(&mut self, before: SystemTime) -> Result<(), SpoolError> {
        self.drop_shipped_before(before)
    }

    /// Returns the position up to which the ring is stored.
    pub fn ring(&self) -> Option<RingPosition> {
        self.ring
    }

    pub fn stats(&self) -> Stats {
        Stats {
            segments: self.sealed.len() as u64 + 1,
            bytes: self.bytes(),
            open_sessions: self.live.len() as u64,
            unshipped_bytes: self.unshipped_bytes(),
            ..self.stats
        }
    }

    fn unshipped_bytes(&self) -> u64 {
        let Some(shipped) = self.shipped else {
            return 0;
        };
        let active = (self.active.files.number, self.active.end);
        let sealed = self.sealed.iter().map(|s| (s.files.number, s.files.len));
        sealed
            .chain([active])
            .map(|(number, len)| match number.cmp(&shipped.segment) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => len.saturating_sub(shipped.offset),
                std::cmp::Ordering::Greater => len,
            })
            .sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|sealed| sealed.bytes).sum();
        sealed + self.active.bytes()
    }

    /// Appends to the active segment, without a limit of size.
    pub(super) fn append(
        &mut self,
        batch: &mut BatchBuilder,
        ring: Option<RingPosition>,
        wall: WallOffset,
    ) -> Result<(), SpoolError> {
        // Closing entries have no serial, but a lookup uses it.
        for block in batch.blocks_mut() {
            if block.serial.is_none() {
                let live = self.live.get(&block.mark);
                block.serial = live.and_then(|live| serial_of(&live.opened));
            }
        }
        batch.encode(
            self.active.header.batch_magic(),
            self.active.end,
            ring,
            wall,
            &mut self.encoded,
            &mut self.table,
        )?;
        let written = self
            .active
            .append(&mut self.disk, &self.encoded, &self.table);
        if self.encoded.capacity() > KEPT_BYTES {
            self.encoded = Vec::new();
        }
        written.map_err(|source| SpoolError::write(&self.active.files.segment, source))?;
        self.stats.batches_stored += 1;
        let events = batch.blocks().iter().map(super::batch::Block::events);
        self.stats.events_stored += events.sum::<u64>();
        Ok(())
    }

    /// Begins a new segment and makes room for it.
    fn rotate(&mut self) -> Result<(), SpoolError> {
        self.begin_segment()?;
        self.make_room_or_warn();
        Ok(())
    }

    fn make_room_or_warn(&mut self) {
        if let Err(error) = self.make_room() {
            tracing::warn!(error = %WithCauses(&error), "Old spool segments could not be dropped.");
        }
    }

    /// Begins a new segment. After a failure the old one is still active.
    pub(super) fn begin_segment(&mut self) -> Result<(), SpoolError> {
        let fresh = new_segment(&self.config, &mut self.disk, &mut self.next_number)?;
        let old = std::mem::replace(&mut self.active, fresh);
        if let Err(error) = self.write_head() {
            let fresh = std::mem::replace(&mut self.active, old);
            // Without its head the new segment must not stay.
            let _ = self.disk.remove(&fresh.files.segment);
            let _ = self.disk.remove(&fresh.files.index);
            return Err(error);
        }
        self.must_rotate = false;
        let mut old = old;
        let sealed = old.seal(&mut self.disk);
        let path = old.files.segment.clone();
        self.sealed.push(Sealed::of_active(old));
        if let Err(source) = sealed {
            self.stats.failed_syncs += 1;
            let error = SpoolError::sync(&path, source);
            tracing::warn!(error = %WithCauses(&error), "A finished spool segment may not survive a power loss.");
        }
        Ok(())
    }
}

const KEPT_BYTES: usize = 1024 * 1024;

fn new_segment(
    config: &SpoolConfig,
    disk: &mut impl Disk,
    next_number: &mut u64,
) -> Result<Active, SpoolError> {
    let number = *next_number;
    let files = SegmentFiles::new(&config.dir, number);
    // Random and secret: argv must not be able to imitate a batch.
    let magic = SessionId::generate().mark();
    let header = FileHeader::new(number, config.boot_id, &config.host, magic).ok_or_else(|| {
        SpoolError::HostTooLong {
            host: config.host.clone(),
        }
    })?;
    *next_number += 1;
    Active::create(disk, &config.dir, &files, &header)
        .map_err(|source| SpoolError::write(&files.segment, source))
}
