//! Finds sessions in the spool, from its indexes and journal blocks alone.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::block::{BlockEntry, BlockKind};
use super::dir::{self, SegmentFiles};
use super::error::SpoolReadError;
use super::journal::journal_lines;
use super::record::{Draft, Nameless, SessionRecord};
use super::scan::unreadable;
use super::segment::{Look, Segment, Unloaded, payload};
use crate::id::{BootId, CertSerial, SessionId};
use crate::session::{Gap, JournalEntry};
use crate::wire::Mark;

/// Selects the sessions of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    All,
    /// One certificate can open many sessions, and two CAs can use the same serial.
    Serial(CertSerial),
    Id(SessionId),
}

/// A spool as it was at one moment.
#[derive(Debug)]
pub struct SpoolReader {
    dir: PathBuf,
    segments: Vec<SegmentFiles>,
    bytes_read: Cell<u64>,
    shortens: bool,
}

impl SpoolReader {
    /// Opens a spool to read it. Works without the agent and does not disturb it.
    ///
    /// # Errors
    /// The directory or a file in it is not in the state that the agent leaves. Damage inside the
    /// files is not an error: it becomes gaps.
    pub fn open(dir: &Path) -> Result<Self, SpoolReadError> {
        Ok(Self {
            dir: dir.to_owned(),
            segments: dir::list(dir)?.segments,
            bytes_read: Cell::new(0),
            shortens: false,
        })
    }

    /// Leaves one segment out, as if it had been dropped.
    #[must_use]
    pub fn without(mut self, number: u64) -> Self {
        self.segments.retain(|files| files.number != number);
        self
    }

    /// Shortens the texts of every session. Entries of older agents have up to 400 KB, and an agent reads all open
    /// sessions at once.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        self.shortens = true;
        self
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the segments, oldest first, with their lengths when the spool was opened.
    pub fn segments(&self) -> &[SegmentFiles] {
        &self.segments
    }

    /// Returns the number of bytes read from files so far: a lookup must not read the whole spool.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    /// Returns the sessions that match, newest first.
    ///
    /// # Errors
    /// A segment cannot be read at all, or has a newer format.
    pub fn sessions(&self, filter: &Filter) -> Result<Vec<SessionRecord>, SpoolReadError> {
        Ok(self.lookup(filter)?.finish())
    }

    /// Returns the sessions with these marks and a readable beginning, newest first.
    ///
    /// # Errors
    /// As `sessions`.
    pub fn sessions_of(&self, marks: Vec<Mark>) -> Result<Vec<SessionRecord>, SpoolReadError> {
        Ok(self.drafts(&mut Wanted::marks(marks, None))?.finish())
    }

    /// Returns sessions with a damaged beginning: their events are stored, but their owner is
    /// unknown.
    ///
    /// # Errors
    /// As `sessions`.
    pub fn nameless(&self, filter: &Filter) -> Result<Vec<Nameless>, SpoolReadError> {
        let drafts = self.lookup(filter)?.by_mark.into_iter();
        let nameless = drafts.filter(|(mark, draft)| *mark != 0 && draft.opened.is_none());
        let mut nameless: Vec<_> = nameless
            .map(|(mark, draft)| Nameless {
                mark,
                serial: draft.serial,
                stored: draft.stored,
                last_at: draft.last_at,
            })
            .collect();
        nameless.sort_by_key(|session| session.mark);
        Ok(nameless)
    }

    fn lookup(&self, filter: &Filter) -> Result<Drafts, SpoolReadError> {
        let mut wanted = match filter {
            Filter::All => Wanted::All,
            Filter::Id(id) => Wanted::marks(vec![id.mark()], None),
            Filter::Serial(serial) => Wanted::marks(Vec::new(), Some(*serial)),
        };
        let drafts = self.drafts(&mut wanted)?;
        match wanted {
            // Carried entries come later than their session, so the search for them is repeated.
            Wanted::Marks {
                marks,
                missed: true,
                ..
            } => self.drafts(&mut Wanted::marks(marks, None)),
            _ => Ok(drafts),
        }
    }

    fn drafts(&self, wanted: &mut Wanted) -> Result<Drafts, SpoolReadError> {
        let mut drafts = Drafts::default();
        self.each_segment(
            |_| true,
            |segment| match segment {
                Err(gap) => {
                    drafts.host_wide.push((None, gap));
                    Ok(())
                }
                Ok(segment) => {
                    let boot_id = Some(segment.header.boot_id());
                    let damage = segment.damage.iter().map(|gap| (boot_id, gap.clone()));
                    drafts.host_wide.extend(damage);
                    self.learn_segment(segment, wanted, &mut drafts)
                }
            },
        )?;
        Ok(drafts)
    }

    /// Loads the matching segments one after another into the same memory.
    pub(super) fn each_segment(
        &self,
        matches: impl Fn(&SegmentFiles) -> bool,
        mut visit: impl FnMut(Result<&Segment, Gap>) -> Result<(), SpoolReadError>,
    ) -> Result<(), SpoolReadError> {
        let mut buffer = Vec::new();
        for files in self.segments.iter().filter(|files| matches(files)) {
            match Segment::load(files, Look::Index, std::mem::take(&mut buffer))? {
                Ok(segment) => {
                    self.count(segment.bytes_read);
                    visit(Ok(&segment))?;
                    buffer = segment.into_buffer();
                }
                Err(Unloaded::Gone) => {}
                Err(Unloaded::Damaged(gap)) => visit(Err(gap))?,
            }
        }
        Ok(())
    }

    fn learn_segment(
        &self,
        segment: &Segment,
        wanted: &mut Wanted,
        drafts: &mut Drafts,
    ) -> Result<(), SpoolReadError> {
        let mut blocks = Blocks::new(self, segment);
        for entry in segment.entries() {
            if !wanted.takes(entry) {
                continue;
            }
            let draft = drafts.by_mark.entry(entry.mark()).or_default();
            draft.in_segment(segment.files.number);
            draft.serial = draft.serial.or(entry.serial());
            if entry.is_events() {
                draft.stores(entry);
            }
            if !entry.is_journal() {
                continue;
            }
            let lost = || unreadable(entry.first_at(), entry.last_at());
            let mut damaged = None;
            match blocks.payload(entry)? {
                Block::Whole(payload) => {
                    for line in journal_lines(entry.kind(), &payload) {
                        let Ok(mut line) = line else {
                            // One for all lines: each would have the times of the block.
                            damaged.get_or_insert_with(lost);
                            continue;
                        };
                        let boot_id = line.boot_id.unwrap_or(segment.header.boot_id());
                        if self.shortens
                            && let JournalEntry::Opened(opened) = &mut line.entry
                        {
                            opened.shorten();
                        }
                        match line.entry {
                            JournalEntry::Gap(gap) if gap.session.is_none() => {
                                drafts.host_wide.push((Some(boot_id), gap));
                            }
                            of_session => draft.learn(of_session, segment, boot_id, entry),
                        }
                    }
                }
                Block::Damaged => damaged = Some(lost()),
                Block::Dropped => {}
            }
            if entry.mark() == 0 {
                let boot_id = Some(segment.header.boot_id());
                let damaged = damaged.into_iter().map(|gap| (boot_id, gap));
                drafts.host_wide.extend(damaged);
            } else {
                draft.gaps.extend(damaged);
            }
        }
        Ok(())
    }

    fn count(&self, bytes: u64) {
        self.bytes_read.set(self.bytes_read.get() + bytes);
    }
}

/// The payloads of one segment, which is opened when the first of them is needed.
pub(super) struct Blocks<'a> {
    reader: &'a SpoolReader,
    segment: &'a Segment,
    file: Option<File>,
}

pub(super) enum Block {
    Whole(Vec<u8>),
    Damaged,
    /// The agent has dropped the segment since the spool was opened.
    Dropped,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(reader: &'a SpoolReader, segment: &'a Segment) -> Self {
        Self {
            reader,
            segment,
            file: None,
        }
    }

    pub(super) fn payload(&mut self, entry: &BlockEntry) -> Result<Block, SpoolReadError> {
        let failed = |source| SpoolReadError::read(&self.segment.files.segment, source);
        let file = match &mut self.file {
            Some(file) => file,
            none => match self.segment.open() {
                Ok(opened) => none.insert(opened),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Block::Dropped),
                Err(source) => return Err(failed(source)),
            },
        };
        self.reader.count(entry.len() as u64);
        let payload = payload(file, entry).map_err(failed)?;
        Ok(payload.map_or(Block::Damaged, Block::Whole))
    }
}

/// Selects the entries of a lookup.
enum Wanted {
    All,
    Marks {
        /// Sorted.
        marks: Vec<Mark>,
        serial: Option<CertSerial>,
        /// An entry of a session was read before its beginning.
        missed: bool,
    },
}

impl Wanted {
    fn marks(mut marks: Vec<Mark>, serial: Option<CertSerial>) -> Self {
        marks.sort_unstable();
        Self::Marks {
            marks,
            serial,
            missed: false,
        }
    }

    fn takes(&mut self, entry: &BlockEntry) -> bool {
        let Self::Marks {
            marks,
            serial,
            missed,
        } = self
        else {
            return entry.mark() != 0 || entry.is_journal();
        };
        let mark = entry.mark();
        if mark == 0 {
            // A gap without a session may concern every session.
            return entry.is_journal();
        }
        let Err(place) = marks.binary_search(&mark) else {
            return true;
        };
        let found = serial.is_some() && entry.serial() == *serial;
        if found {
            marks.insert(place, mark);
            *missed |= entry.kind() != Some(BlockKind::Journal);
        }
        found
    }
}

#[derive(Default)]
struct Drafts {
    by_mark: HashMap<Mark, Draft>,
    host_wide: Vec<(Option<BootId>, Gap)>,
}

impl Drafts {
    fn finish(self) -> Vec<SessionRecord> {
        let drafts = self.by_mark.into_values();
        let mut sessions: Vec<_> = drafts.filter_map(Draft::finish).collect();
        for session in &mut sessions {
            session.take_host_wide(&self.host_wide);
        }
        sessions.sort_by_cached_key(|s| std::cmp::Reverse((s.opened_at(), s.opened.id)));
        sessions
    }
}
