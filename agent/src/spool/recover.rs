//! What is in the directory when the agent starts, put in order.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use vctl_common::id::BootId;
use vctl_common::session::{Gap, SessionOpened};
use vctl_common::spool::{
    self, DirError, FileHeader, FileKind, Filter, Listing, RingPosition, Segment, SessionRecord,
    SpoolReader, Unloaded,
};
use vctl_common::time::BootNs;
use vctl_common::wire::Mark;

use super::active::Active;
use super::disk::Disk;
use super::retain::Sealed;
use super::writer::{Live, SpoolConfig, SpoolError};

/// What the spool knew when it was opened.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Of the last complete batch of this boot: all before it is stored.
    pub ring: Option<RingPosition>,
    /// Sessions of this boot that were not closed.
    pub open: Vec<OpenSession>,
    /// As `open`, of earlier boots: over since the machine went down, and to be closed as that.
    pub cut_off: Vec<OpenSession>,
    /// Bytes of batches that were never finished, taken away.
    pub truncated_bytes: u64,
    /// Parts that cannot be read, of no session in particular.
    pub damage: Vec<Gap>,
}

/// A session that has no end in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSession {
    pub opened: SessionOpened,
    pub boot_id: BootId,
    /// Events in the spool, and when the last of them happened.
    pub stored: u64,
    pub last_at: Option<BootNs>,
    /// The highest session sequence number among them.
    pub last_seq: u64,
    pub gaps: Vec<Gap>,
}

pub(super) struct Found {
    pub(super) recovered: Recovered,
    /// The segment to go on with, if there is one.
    pub(super) active: Option<Active>,
    pub(super) sealed: Vec<Sealed>,
    pub(super) live: HashMap<Mark, Live>,
    pub(super) next_number: u64,
    pub(super) lock: File,
}

pub(super) fn recover(config: &SpoolConfig, disk: &mut impl Disk) -> Result<Found, SpoolError> {
    let lock = prepare(&config.dir)?;
    let Listing {
        segments: files,
        orphan_indexes,
        foreign,
    } = spool::list(&config.dir)?;
    // A spool on a file system of its own has this directory.
    let foreign = foreign
        .into_iter()
        .find(|path| !path.ends_with("lost+found"));
    if let Some(path) = foreign {
        return Err(SpoolError::Foreign { path });
    }
    let last = files.iter().chain(&orphan_indexes).map(|f| f.number).max();
    let next_number = last.map_or(0, |last| last + 1);

    let mut loaded = Vec::new();
    let mut recovered = Recovered::default();
    let newest = files.len().saturating_sub(1);
    for (i, files) in files.into_iter().enumerate() {
        let segment = if i == newest {
            Segment::load_scanned(files)?
        } else {
            Segment::load(files)?
        };
        match segment {
            Ok(segment) => loaded.push(segment),
            Err(Unloaded::Gone) => {}
            Err(Unloaded::Damaged(gap)) => recovered.damage.push(gap),
        }
    }
    // Nothing has been changed so far: a newer version or a foreign file ends it above.
    for left in orphan_indexes {
        disk.remove(&left.index)
            .map_err(|source| SpoolError::write(&left.index, source))?;
    }
    for segment in &loaded {
        if !segment.index_is_whole {
            write_index(disk, segment).map_err(|e| SpoolError::write(&segment.files.index, e))?;
        }
    }
    recovered.ring = last_ring(&loaded, config)?;

    let active = match loaded.last() {
        Some(last) if can_resume(last, config) && last.files.number + 1 == next_number => {
            recovered.truncated_bytes = last.len - last.end;
            let active = Active::resume(disk, last);
            Some(active.map_err(|e| SpoolError::write(&last.files.segment, e))?)
        }
        _ => None,
    };
    let mut sealed: Vec<_> = loaded.iter().map(Sealed::of_loaded).collect();
    if active.is_some() {
        sealed.pop();
    }

    for segment in &loaded {
        recovered.damage.extend_from_slice(&segment.damage);
    }
    let reader = SpoolReader::of(&config.dir, loaded, Vec::new());
    let mut live = HashMap::new();
    for session in reader.sessions(&Filter::All)? {
        if session.closed.is_some() {
            continue;
        }
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
    Ok(Found {
        recovered,
        active,
        sealed,
        live,
        next_number,
        lock,
    })
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

/// Creates the directory or makes sure that it is ours alone, and locks it.
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

/// A segment goes on only in the boot it is of, and only after a whole batch.
fn can_resume(segment: &Segment, config: &SpoolConfig) -> bool {
    !segment.spoiled
        && segment.header.boot_id() == config.boot_id
        && segment.header.host() == config.host
}

/// Finds the position of the ring in the last batch that has one.
fn last_ring(loaded: &[Segment], config: &SpoolConfig) -> Result<Option<RingPosition>, SpoolError> {
    for segment in loaded.iter().rev() {
        if segment.header.boot_id() != config.boot_id {
            return Ok(None);
        }
        if segment.ring.is_some() {
            return Ok(segment.ring);
        }
        // Only the newest was scanned for it.
        if let Ok(scanned) = Segment::load_scanned(segment.files.clone())?
            && scanned.ring.is_some()
        {
            return Ok(scanned.ring);
        }
    }
    Ok(None)
}

fn write_index(disk: &mut impl Disk, segment: &Segment) -> io::Result<()> {
    let path = &segment.files.index;
    let index = match File::options().write(true).open(path) {
        Ok(index) => index,
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path)?,
        Err(error) => return Err(error),
    };
    disk.truncate(&index, 0)?;
    disk.write_all_at(&index, &segment.header.encode(FileKind::Index), 0)?;
    disk.write_all_at(&index, segment.index_bytes(), FileHeader::LEN as u64)
}
