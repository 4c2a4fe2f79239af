//! Reads the directory when the agent starts, and repairs it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use vctl_common::id::BootId;
use vctl_common::session::{Gap, SessionOpened};
use vctl_common::spool::{
    self, BlockEntry, BlockKind, DirError, Filter, Listing, Look, RingPosition, Segment,
    SegmentFiles, SessionRecord, SpoolReader, Unloaded,
};
use vctl_common::time::BootNs;
use vctl_common::wire::Mark;

use super::active::Active;
use super::disk::Disk;
use super::error::SpoolError;
use super::position::{self, Position};
use super::segment_state::{Live, Sealed, SpoolConfig};
use super::unclosed::unclosed_without;

/// The state of the spool when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Position of the last complete batch of this boot: everything before is stored.
    pub ring: Option<RingPosition>,
    /// Sessions of this boot that were not closed.
    pub open: Vec<OpenSession>,
    /// As `open`, of earlier boots: they ended with the machine, and are to be closed with that reason.
    pub cut_off: Vec<OpenSession>,
    /// Removed bytes of unfinished batches.
    pub truncated_bytes: u64,
    /// Parts that cannot be read, without a known session.
    pub damage: Vec<Gap>,
}

/// A session without an end in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    pub opened: SessionOpened,
    pub boot_id: BootId,
    /// Events in the spool, and the time of the last one.
    pub stored: u64,
    pub last_at: Option<BootNs>,
    /// The highest session sequence number among them.
    pub last_seq: u64,
    pub gaps: Vec<Gap>,
}

pub(super) struct Found {
    pub(super) recovered: Recovered,
    /// The segment to continue, if there is one.
    pub(super) active: Option<Active>,
    pub(super) sealed: Vec<Sealed>,
    pub(super) live: HashMap<Mark, Live>,
    pub(super) next_number: u64,
    pub(super) lock: File,
}

impl Found {
    /// Removes the oldest segment that the centre has and that no open session needs. One that leaves a session without its
    /// end goes only if there is no other: the centre has the end. Returns false when there is none.
    pub(super) fn remove_shipped(
        &mut self,
        shipped: Option<Position>,
        dir: &Path,
        disk: &mut impl Disk,
    ) -> Result<bool, SpoolError> {
        let mut victim = None;
        for (nth, sealed) in self.sealed.iter().enumerate() {
            if !sealed.is_shipped(shipped) || !sealed.is_over(&self.live) {
                continue;
            }
            let marks = sealed.named.iter().copied();
            let ended = marks.filter(|mark| !self.live.contains_key(mark));
            if unclosed_without(dir, sealed.files.number, ended.collect())?.is_empty() {
                victim = Some(nth);
                break;
            }
            victim.get_or_insert(nth);
        }
        let Some(nth) = victim else {
            return Ok(false);
        };
        let files = self.sealed.remove(nth).files;
        disk.remove(&files.segment)
            .map_err(|source| SpoolError::write(&files.segment, source))?;
        // An index without its segment is removed when the spool is opened next.
        let _ = disk.remove(&files.index);
        tracing::info!(
            segment = files.number,
            "Dropped a shipped spool segment: the disk is full."
        );
        Ok(true)
    }
}

pub(super) fn recover(config: &SpoolConfig, disk: &mut impl Disk) -> Result<Found, SpoolError> {
    let lock = prepare(&config.dir)?;
    let Listing {
        segments: files,
        orphan_indexes,
        foreign,
    } = spool::list(&config.dir)?;
    // A spool that is a file system has this directory.
    let foreign = foreign
        .into_iter()
        .find(|path| !path.ends_with("lost+found") && !position::is_ours(path));
    if let Some(path) = foreign {
        return Err(SpoolError::Foreign { path });
    }
    let last = files.iter().chain(&orphan_indexes).map(|f| f.number).max();
    let next_number = last.map_or(0, |last| last + 1);

    let newest = files.len().saturating_sub(1);
    let mut recovered = Recovered::default();
    let mut sealed = Vec::new();
    let mut to_repair = Vec::new();
    let mut last_segment = None;
    let mut named = HashSet::new();
    let mut buffer = Vec::new();
    for (i, files) in files.iter().enumerate() {
        let look = if i == newest {
            Look::Tables
        } else {
            Look::Index
        };
        match Segment::load(files, look, std::mem::take(&mut buffer))? {
            Ok(segment) => {
                recovered.damage.extend_from_slice(&segment.damage);
                sealed.push(Sealed::of_loaded(&segment));
                // Content comes after the whole head, which names every open session. With a head alone, the agent
                // may have ended while it wrote it.
                if segment.entries().iter().any(|entry| !entry.is_carried()) {
                    named.clear();
                }
                let journal = segment.entries().iter().filter(|e| e.is_journal());
                named.extend(journal.map(BlockEntry::mark));
                if i == newest {
                    last_segment = Some(segment);
                    continue;
                }
                if !segment.index_is_whole {
                    to_repair.push(files);
                }
                buffer = segment.into_buffer();
            }
            Err(Unloaded::Gone) => {}
            Err(Unloaded::Damaged(gap)) => recovered.damage.push(gap),
        }
    }
    recovered.ring = last_ring(last_segment.as_ref(), &files, config)?;

    // Nothing has been changed so far: a newer version or a foreign file ends the start above.
    for left in orphan_indexes {
        disk.remove(&left.index)
            .map_err(|source| SpoolError::write(&left.index, source))?;
    }
    for files in to_repair {
        if let Ok(segment) = Segment::load(files, Look::Index, std::mem::take(&mut buffer))? {
            write_index(disk, &segment)?;
            buffer = segment.into_buffer();
        }
    }
    let earlier: Vec<_> = sealed.iter().map(|sealed| sealed.files.clone()).collect();
    let earlier = &earlier[..earlier.len().saturating_sub(1)];
    if let Some(last) = &last_segment
        && let Some(nth) = superseded(last, earlier)?
    {
        let files = sealed.remove(nth).files;
        disk.remove(&files.segment)
            .and_then(|()| disk.remove(&files.index))
            .map_err(|source| SpoolError::write(&files.segment, source))?;
    }
    let mut active = None;
    if let Some(last) = last_segment {
        if !last.index_is_whole {
            write_index(disk, &last)?;
        }
        if can_resume(&last, config) && last.files.number + 1 == next_number {
            recovered.truncated_bytes = last.files.len - last.end;
            let resumed = Active::resume(disk, &last);
            active = Some(resumed.map_err(|e| SpoolError::write(&last.files.segment, e))?);
            sealed.pop();
        }
    }

    let live = find_open(config, named, &mut recovered)?;
    Ok(Found {
        recovered,
        active,
        sealed,
        live,
        next_number,
        lock,
    })
}

/// Finds the segment that an interrupted trim left: the newest batch has copies of its events, and only its
/// removal was missing.
fn superseded(newest: &Segment, earlier: &[SegmentFiles]) -> Result<Option<usize>, SpoolError> {
    let entries = newest.entries();
    let begin = entries.iter().rposition(|entry| entry.nth() == 0);
    let last_batch = &entries[begin.unwrap_or(0)..];
    let is_copy = |entry: &&BlockEntry| entry.kind() == Some(BlockKind::CarriedEvents);
    let Some(copy) = last_batch.iter().find(is_copy) else {
        return Ok(None);
    };
    let mut buffer = Vec::new();
    for (nth, files) in earlier.iter().enumerate() {
        if let Ok(segment) = Segment::load(files, Look::Index, std::mem::take(&mut buffer))? {
            if segment.entries().iter().any(|entry| entry.is_copy_of(copy)) {
                return Ok(Some(nth));
            }
            buffer = segment.into_buffer();
        }
    }
    Ok(None)
}

/// Finds the sessions without an end among those `named` in the last segment with content and behind it: the head
/// of that segment names every session that was open. If parts are damaged, every journal is read.
fn find_open(
    config: &SpoolConfig,
    named: HashSet<Mark>,
    recovered: &mut Recovered,
) -> Result<HashMap<Mark, Live>, SpoolError> {
    let reader = SpoolReader::open(&config.dir)?.shortened();
    let sessions = if recovered.damage.is_empty() {
        reader.sessions_of(named.into_iter().collect())?
    } else {
        reader.sessions(&Filter::All)?
    };
    let mut live = HashMap::new();
    for session in sessions.into_iter().filter(|s| s.closed.is_none()) {
        let known = Live {
            opened: session.opened.clone(),
            boot_id: session.boot_id,
            wall: session.wall,
        };
        live.insert(session.opened.id.mark(), known);
        let list = if session.boot_id == config.boot_id {
            &mut recovered.open
        } else {
            &mut recovered.cut_off
        };
        list.push(open_session(session));
    }
    Ok(live)
}

fn open_session(session: SessionRecord) -> OpenSession {
    OpenSession {
        opened: session.opened,
        boot_id: session.boot_id,
        stored: session.stored,
        last_at: session.last_at,
        last_seq: session.last_seq,
        gaps: session
            .gaps
            .into_iter()
            .filter(|gap| gap.session.is_some())
            .collect(),
    }
}

/// Creates the directory or checks that only we can use it, and locks it.
fn prepare(dir: &Path) -> Result<File, SpoolError> {
    let failed = |source| SpoolError::Prepare {
        path: dir.to_owned(),
        source,
    };
    let created = DirBuilder::new().mode(0o700).create(dir);
    match created {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(dir)
            .map_err(failed)?,
        Err(error) => return Err(failed(error)),
    }
    let meta = fs::symlink_metadata(dir).map_err(failed)?;
    let path = || dir.to_owned();
    if meta.is_symlink() {
        return Err(DirError::Symlink { path: path() }.into());
    }
    if !meta.is_dir() {
        return Err(DirError::NotADirectory { path: path() }.into());
    }
    let (uid, owner) = (meta.uid(), nix::unistd::geteuid().as_raw());
    if uid != owner {
        return Err(DirError::OtherOwner {
            path: path(),
            uid,
            owner,
        }
        .into());
    }
    let lock = File::open(dir).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(SpoolError::InUse { dir: path() }),
        Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(lock)
}

/// Returns whether a segment can be continued: only within its boot and after a whole batch.
fn can_resume(segment: &Segment, config: &SpoolConfig) -> bool {
    !segment.spoiled
        && segment.header.boot_id() == config.boot_id
        && segment.header.host() == config.host
}

/// Finds the position of the ring in the last batch that has one.
fn last_ring(
    last: Option<&Segment>,
    files: &[SegmentFiles],
    config: &SpoolConfig,
) -> Result<Option<RingPosition>, SpoolError> {
    let mut ring = None;
    if let Some(last) = last {
        if last.header.boot_id() != config.boot_id {
            return Ok(None);
        }
        ring = last.ring;
    }
    // It is in the last segment, except when that one had just been started.
    let mut earlier = files.iter().rev().skip(1);
    while let (None, Some(files)) = (ring, earlier.next()) {
        if let Ok(segment) = Segment::load(files, Look::Tables, Vec::new())? {
            if segment.header.boot_id() != config.boot_id {
                break;
            }
            ring = segment.ring;
        }
    }
    Ok(ring)
}

fn write_index(disk: &mut impl Disk, segment: &Segment) -> Result<(), SpoolError> {
    let path = &segment.files.index;
    let mut write = || {
        let index = match File::options().write(true).open(path) {
            Ok(index) => index,
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path)?,
            Err(error) => return Err(error),
        };
        disk.truncate(&index, 0)?;
        disk.write_all_at(&index, segment.index_bytes(), 0)
    };
    write().map_err(|source| SpoolError::write(path, source))
}
