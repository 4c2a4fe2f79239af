//! Returns what was added to the spool since the previous look.

use std::io;
use std::path::PathBuf;

use super::block::BlockEntry;
use super::dir;
use super::error::SpoolReadError;
use super::journal::journal_lines;
use super::reader::{Filter, SpoolReader};
use super::segment::{Look, Segment, payload};
use super::timeline::{StoredEvent, records};
use crate::event;
use crate::id::BootId;
use crate::session::{Gap, JournalEntry};
use crate::time::WallOffset;
use crate::wire::Mark;

/// One new item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    Event {
        /// 0 for an event of no session.
        mark: Mark,
        stored: StoredEvent,
    },
    Journal {
        entry: JournalEntry,
        boot_id: BootId,
        wall: WallOffset,
    },
    /// A block that cannot be read: of the session, or of an unknown one (0).
    Damaged { mark: Mark, events: Option<u64> },
}

/// Continues where a [`SpoolReader`] ended.
///
/// The caller polls. Each look costs a listing, and nothing else while the last segment has not
/// grown.
#[derive(Debug)]
pub struct Follower {
    dir: PathBuf,
    filter: Filter,
    /// Number of the segment that was read last, the end of what was read, and its length at that
    /// time.
    number: u64,
    end: u64,
    len: u64,
    damage: Vec<Gap>,
}

impl Follower {
    /// Follows from the position that `reader` reached, without repeating or missing an entry.
    ///
    /// # Errors
    /// The newest segment cannot be read.
    pub fn new(reader: &SpoolReader, filter: Filter) -> Result<Self, SpoolReadError> {
        let mut follower = Self {
            dir: reader.dir().to_owned(),
            filter,
            number: 0,
            end: 0,
            len: 0,
            damage: Vec::new(),
        };
        if let Some(files) = reader.segments().last() {
            follower.number = files.number;
            if let Ok(segment) = Segment::load(files, Look::Index, Vec::new())? {
                follower.end = segment.end;
                follower.len = segment.files.len;
                follower.damage = segment.damage;
            }
        }
        Ok(follower)
    }

    /// Returns the new items, in the order in which they were written.
    ///
    /// # Errors
    /// As for opening the spool. The next call begins at the segment that could not be read.
    pub fn poll(&mut self) -> Result<Vec<Followed>, SpoolReadError> {
        let mut news = Vec::new();
        for files in dir::list(&self.dir)?.segments {
            let seen = files.number == self.number && files.len == self.len;
            if files.number < self.number || seen {
                continue;
            }
            let Ok(segment) = Segment::load(&files, Look::Index, Vec::new())? else {
                continue;
            };
            if files.number != self.number {
                self.number = files.number;
                self.end = 0;
                self.damage.clear();
            }
            self.read_on(&segment, &mut news)?;
            self.end = segment.end;
            self.len = files.len;
        }
        Ok(news)
    }

    fn read_on(
        &mut self,
        segment: &Segment,
        news: &mut Vec<Followed>,
    ) -> Result<(), SpoolReadError> {
        for gap in &segment.damage {
            if !self.damage.contains(gap) {
                self.damage.push(gap.clone());
                news.push(Followed::Damaged {
                    mark: 0,
                    events: None,
                });
            }
        }
        let is_new = |e: &&BlockEntry| {
            // Carried entries repeat earlier ones.
            e.offset() >= self.end && !e.is_carried() && self.wants(e)
        };
        let mut wanted = segment.entries().iter().filter(is_new).peekable();
        if wanted.peek().is_none() {
            return Ok(());
        }
        let failed = |source| SpoolReadError::read(&segment.files.segment, source);
        let file = match segment.open() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(failed(source)),
        };
        for entry in wanted {
            match payload(&file, entry).map_err(failed)? {
                None => news.push(Followed::Damaged {
                    mark: entry.mark(),
                    events: Some(entry.count()).filter(|_| entry.is_events()),
                }),
                Some(payload) if entry.is_events() => {
                    news.extend(records(&payload).map(|record| followed_event(entry, record)));
                }
                Some(payload) => {
                    let boot_id = segment.header.boot_id();
                    let wall = entry.wall_offset();
                    let mut is_damaged = false;
                    for line in journal_lines(entry.kind(), &payload) {
                        match line {
                            Ok(line) => news.push(Followed::Journal {
                                entry: line.entry,
                                boot_id: line.boot_id.unwrap_or(boot_id),
                                wall,
                            }),
                            Err(_) => is_damaged = true,
                        }
                    }
                    // One for all lines, as the stored gap.
                    if is_damaged {
                        news.push(Followed::Damaged {
                            mark: entry.mark(),
                            events: None,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn wants(&self, entry: &BlockEntry) -> bool {
        let host_wide = entry.mark() == 0 && entry.is_journal();
        host_wide
            || match self.filter {
                Filter::All => true,
                Filter::Id(id) => entry.mark() == id.mark(),
                Filter::Serial(serial) => entry.serial() == Some(serial),
            }
    }
}

fn followed_event(entry: &BlockEntry, record: Result<&[u8], event::DecodeError>) -> Followed {
    match record.and_then(event::decode) {
        Ok(event) => Followed::Event {
            mark: entry.mark(),
            stored: StoredEvent {
                wall: entry.wall_offset().wall_time(event.at),
                event,
            },
        },
        Err(_) => Followed::Damaged {
            mark: entry.mark(),
            events: Some(1),
        },
    }
}
