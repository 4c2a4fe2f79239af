//! Which sessions the spool knows, from its indexes and journal blocks alone.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::dir::{self, DirError};
use super::format::{BlockEntry, BlockKind, VERSION};
use super::journal::journal_lines;
use super::scan::unreadable;
use super::segment::{Segment, Unloaded, payload};
use crate::id::{BootId, CertSerial, SessionId};
use crate::session::{CloseReason, Gap, JournalEntry, SessionClosed, SessionOpened};
use crate::time::{BootNs, WallOffset};
use crate::wire::Mark;

#[derive(Debug, thiserror::Error)]
pub enum SpoolReadError {
    #[error(transparent)]
    Dir(#[from] DirError),
    #[error("cannot read `{}`", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` has format {version}, newer than {VERSION}, the newest this vctl knows", path.display())]
    Newer { path: PathBuf, version: u32 },
}

impl SpoolReadError {
    pub(super) fn read(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Read { path, source }
    }

    pub(super) fn newer(path: &Path, version: u32) -> Self {
        let path = path.to_owned();
        Self::Newer { path, version }
    }
}

/// Which sessions to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    All,
    /// One certificate may have opened many sessions, and two CAs may have used one serial.
    Serial(CertSerial),
    Id(SessionId),
}

/// What the journal says of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    pub opened: SessionOpened,
    pub closed: Option<SessionClosed>,
    /// Those of the session, and those of nobody in particular from its time.
    pub gaps: Vec<Gap>,
    pub boot_id: BootId,
    pub host: String,
    /// As the clocks stood when the session was opened.
    pub wall: WallOffset,
    /// As the clocks stood when it was closed.
    pub closed_wall: Option<WallOffset>,
    /// Events in the spool.
    pub stored: u64,
    /// When the last of them happened.
    pub last_at: Option<BootNs>,
    /// The highest session sequence number among them.
    pub last_seq: u64,
}

impl SessionRecord {
    pub fn serial(&self) -> Option<CertSerial> {
        serial_of(&self.opened)
    }

    pub fn opened_at(&self) -> SystemTime {
        self.wall.wall_time(self.opened.opened_at)
    }

    pub fn closed_at(&self) -> Option<SystemTime> {
        let closed = self.closed.as_ref()?;
        Some(self.closed_wall.unwrap_or(self.wall).wall_time(closed.at))
    }
}

fn serial_of(opened: &SessionOpened) -> Option<CertSerial> {
    opened.auth.certificate.as_ref()?.serial
}

/// A spool as it was at one moment.
#[derive(Debug)]
pub struct SpoolReader {
    pub(super) dir: PathBuf,
    pub(super) segments: Vec<Segment>,
    damage: Vec<Gap>,
    bytes_read: Cell<u64>,
}

impl SpoolReader {
    /// Reads the indexes of all segments. Needs no agent and disturbs none.
    ///
    /// # Errors
    /// The directory or a file in it is not as the agent leaves it, or newer than this reader.
    /// Damage inside the files is no error: it becomes gaps.
    pub fn open(dir: &Path) -> Result<Self, SpoolReadError> {
        let mut segments = Vec::new();
        let mut damage = Vec::new();
        for files in dir::list(dir)?.segments {
            match Segment::load(files)? {
                Ok(segment) => segments.push(segment),
                Err(Unloaded::Gone) => {}
                Err(Unloaded::Damaged(gap)) => damage.push(gap),
            }
        }
        Ok(Self::of(dir, segments, damage))
    }

    /// Returns a reader of segments that are loaded already, oldest first.
    pub fn of(dir: &Path, segments: Vec<Segment>, damage: Vec<Gap>) -> Self {
        Self {
            dir: dir.to_owned(),
            bytes_read: Cell::new(segments.iter().map(|segment| segment.bytes_read).sum()),
            segments,
            damage,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Bytes read from files so far: a lookup must not read the whole spool.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    pub(super) fn block(&self, file: &File, entry: &BlockEntry) -> io::Result<Option<Vec<u8>>> {
        self.bytes_read
            .set(self.bytes_read.get() + entry.len() as u64);
        payload(file, entry)
    }

    /// Returns the sessions that match, newest first.
    ///
    /// # Errors
    /// A segment cannot be read at all.
    pub fn sessions(&self, filter: &Filter) -> Result<Vec<SessionRecord>, SpoolReadError> {
        let wanted = self.wanted(filter);
        let wanted = |mark: Mark| wanted.as_ref().is_none_or(|marks| marks.contains(&mark));
        let mut drafts: HashMap<Mark, Draft> = HashMap::new();
        let mut host_wide: Vec<(Option<BootId>, Gap)> = Vec::new();
        host_wide.extend(self.damage.iter().map(|gap| (None, gap.clone())));
        for segment in &self.segments {
            let boot_id = segment.header.boot_id();
            host_wide.extend(segment.damage.iter().map(|g| (Some(boot_id), g.clone())));
            let mut file = None;
            for entry in segment.entries() {
                let mark = entry.mark();
                if !wanted(mark) && mark != 0 {
                    continue;
                }
                if entry.is_events() && mark != 0 {
                    drafts.entry(mark).or_default().stores(entry);
                }
                if !entry.is_journal() {
                    continue;
                }
                let draft = drafts.entry(mark).or_default();
                let Some(payload) = self.journal_block(segment, &mut file, entry)? else {
                    let gap = unreadable(entry.first_at(), entry.last_at());
                    if mark == 0 {
                        host_wide.push((Some(boot_id), gap));
                    } else {
                        draft.gaps.push(gap);
                    }
                    continue;
                };
                for line in journal_lines(&payload) {
                    let Ok(line) = line else {
                        draft
                            .gaps
                            .push(unreadable(entry.first_at(), entry.last_at()));
                        continue;
                    };
                    let boot_id = line.boot_id.unwrap_or(boot_id);
                    match line.entry {
                        JournalEntry::Gap(gap) if gap.session.is_none() => {
                            host_wide.push((Some(boot_id), gap));
                        }
                        of_session => draft.learn(of_session, segment, boot_id, entry),
                    }
                }
            }
        }
        let mut sessions: Vec<_> = drafts.into_values().filter_map(Draft::finish).collect();
        for session in &mut sessions {
            session.take_host_wide(&host_wide);
        }
        sessions.sort_by_key(|s| std::cmp::Reverse((s.opened_at(), s.opened.id)));
        Ok(sessions)
    }

    /// Returns the marks a filter means, `None` for all.
    fn wanted(&self, filter: &Filter) -> Option<Vec<Mark>> {
        let serial = match filter {
            Filter::All => return None,
            Filter::Id(id) => return Some(vec![id.mark()]),
            Filter::Serial(serial) => *serial,
        };
        let entries = self.segments.iter().flat_map(Segment::entries);
        let mut marks: Vec<_> = entries
            .filter(|entry| entry.serial() == Some(serial) && entry.mark() != 0)
            .map(BlockEntry::mark)
            .collect();
        marks.sort_unstable();
        marks.dedup();
        Some(marks)
    }

    /// Reads a journal block; `None` when it is damaged, or was dropped with its segment.
    fn journal_block(
        &self,
        segment: &Segment,
        file: &mut Option<File>,
        entry: &BlockEntry,
    ) -> Result<Option<Vec<u8>>, SpoolReadError> {
        let failed = |source| SpoolReadError::read(&segment.files.segment, source);
        let file = match file {
            Some(file) => file,
            None => match segment.open() {
                Ok(opened) => file.insert(opened),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(source) => return Err(failed(source)),
            },
        };
        self.block(file, entry).map_err(failed)
    }
}

/// A session while its journal is being read.
#[derive(Default)]
struct Draft {
    opened: Option<(SessionOpened, BootId, WallOffset)>,
    closed: Option<(SessionClosed, BootId, WallOffset)>,
    host: String,
    gaps: Vec<Gap>,
    stored: u64,
    last_at: Option<BootNs>,
    last_seq: u64,
}

impl Draft {
    fn stores(&mut self, entry: &BlockEntry) {
        self.stored += entry.count();
        self.last_at = self.last_at.max(Some(entry.last_at()));
        self.last_seq = self.last_seq.max(entry.last_seq());
    }

    /// The last word counts: what is carried to the next segment is as it was known then.
    fn learn(
        &mut self,
        entry: JournalEntry,
        segment: &Segment,
        boot_id: BootId,
        block: &BlockEntry,
    ) {
        let wall = block.wall_offset();
        match entry {
            JournalEntry::Opened(opened) => {
                // A carried copy has the wall offset it was first written with.
                let wall = match self.opened {
                    Some((_, _, first)) if block.kind() == Some(BlockKind::Journal) => first,
                    _ => wall,
                };
                self.opened = Some((*opened, boot_id, wall));
                self.host = segment.header.host();
            }
            JournalEntry::Closed(closed) => self.closed = Some((closed, boot_id, wall)),
            JournalEntry::Gap(gap) => {
                if !self.gaps.contains(&gap) {
                    self.gaps.push(gap);
                }
            }
        }
    }

    fn finish(self) -> Option<SessionRecord> {
        let (opened, boot_id, wall) = self.opened?;
        let (closed, closed_wall) = match self.closed {
            // Found to be over by a later boot, in the clock of its own.
            Some((closed, in_boot, _))
                if in_boot != boot_id || closed.reason == CloseReason::HostRebooted =>
            {
                (Some(closed), None)
            }
            Some((closed, _, wall)) => (Some(closed), Some(wall)),
            None => (None, None),
        };
        let mut gaps = self.gaps;
        for gap in &mut gaps {
            gap.session = Some(opened.id);
        }
        Some(SessionRecord {
            opened,
            closed,
            gaps,
            boot_id,
            host: self.host,
            wall,
            closed_wall,
            stored: self.stored,
            last_at: self.last_at,
            last_seq: self.last_seq,
        })
    }
}

impl SessionRecord {
    fn take_host_wide(&mut self, gaps: &[(Option<BootId>, Gap)]) {
        let opened = self.opened.opened_at;
        let closed = self.closed.as_ref().map_or(BootNs(u64::MAX), |c| c.at);
        let mine = gaps.iter().filter(|(boot_id, gap)| {
            boot_id.is_none_or(|boot_id| boot_id == self.boot_id)
                && gap.from <= closed
                && gap.to >= opened
        });
        self.gaps.extend(mine.map(|(_, gap)| gap.clone()));
    }
}
