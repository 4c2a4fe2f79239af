//! Sessions from the spool of this host's agent.
//!
//! The only module that knows the spool: what leaves it are the types of `view`.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use vctl_common::id::SessionId;
use vctl_common::session::{GapCause, JournalEntry, SessionClosed, SessionOpened};
use vctl_common::spool::{
    self, Completeness, Filter, Followed, Follower, SessionRecord, SpoolReadError, SpoolReader,
    StoredEvent, Timeline,
};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::Mark;

use crate::commands::session::Selector;
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::view::{Event, History, Hole, Session, Update};

/// How long a look for news may be late. A person cannot tell, and five listings a second cost
/// nothing.
const POLL: Duration = Duration::from_millis(200);

/// The spool as it was when it was opened.
pub(crate) struct Local {
    reader: SpoolReader,
}

/// A session that was found, not read yet.
pub(crate) struct Found(SessionRecord);

impl Local {
    pub(crate) fn open(dir: &Path) -> Result<Self, CliError> {
        let reader = SpoolReader::open(dir).map_err(|error| unreadable(&error))?;
        Ok(Self { reader })
    }

    /// Returns the sessions of `selector`, without one all, newest first.
    pub(crate) fn sessions(&self, selector: Option<Selector>) -> Result<Vec<Found>, CliError> {
        let sessions = self.reader.sessions(&filter(selector));
        let sessions = sessions.map_err(|error| unreadable(&error))?;
        Ok(sessions.into_iter().map(Found).collect())
    }

    /// Reads everything that happened in a session.
    pub(crate) fn history(&self, found: &Found) -> Result<History, CliError> {
        let timeline = self.reader.timeline(&found.0);
        let timeline = timeline.map_err(|error| unreadable(&error))?;
        Ok(history(&found.0, timeline))
    }

    /// Follows the sessions of `selector` from their beginning; without one all sessions, of those
    /// that are open what they do from now on.
    pub(crate) fn follow(&self, selector: Option<Selector>) -> Result<Follow, CliError> {
        let mut follow = Follow {
            follower: Follower::new(&self.reader, filter(selector)),
            dir: self.reader.dir().to_owned(),
            open: HashMap::new(),
            ends: selector.is_some(),
            first: Vec::new(),
        };
        // Oldest first, as they would have been told.
        for found in self.sessions(selector)?.iter().rev() {
            let record = &found.0;
            if selector.is_some() {
                follow.tell_from_the_beginning(self.history(found)?);
            }
            if record.closed.is_none() {
                let session = Rc::new(session(record, Vec::new(), record.stored));
                if selector.is_none() {
                    follow.first.push(Update::Opened(session.clone()));
                }
                follow.open.insert(record.opened.id.mark(), session);
            }
        }
        Ok(follow)
    }
}

impl Found {
    pub(crate) fn opened(&self) -> &SessionOpened {
        &self.0.opened
    }
}

/// Sessions as they go on.
pub(crate) struct Follow {
    follower: Follower,
    dir: std::path::PathBuf,
    /// Those that are open, by their mark.
    open: HashMap<Mark, Rc<Session>>,
    /// Whether it is over when none is open any more.
    ends: bool,
    /// What is known already.
    first: Vec<Update>,
}

impl Follow {
    /// Waits for news.
    pub(crate) fn wait(&mut self) -> Result<Vec<Update>, CliError> {
        if !self.first.is_empty() || self.is_over() {
            return Ok(std::mem::take(&mut self.first));
        }
        loop {
            let news = self.follower.poll().map_err(|error| unreadable(&error))?;
            let mut updates = Vec::with_capacity(news.len());
            for new in news {
                self.take(new, &mut updates)?;
            }
            if !updates.is_empty() {
                return Ok(updates);
            }
            thread::sleep(POLL);
        }
    }

    /// Says whether every followed session is closed.
    pub(crate) fn is_over(&self) -> bool {
        self.ends && self.open.is_empty() && self.first.is_empty()
    }

    fn tell_from_the_beginning(&mut self, history: History) {
        let session = Rc::new(history.session);
        self.first.push(Update::Opened(session.clone()));
        let mut holes = session.holes.iter().peekable();
        for event in history.events {
            while let Some(hole) = holes.next_if(|hole| hole.from < event.event.at) {
                self.first.push(Update::Hole(session.clone(), hole.clone()));
            }
            self.first.push(Update::Event(session.clone(), event));
        }
        let rest = holes.map(|hole| Update::Hole(session.clone(), hole.clone()));
        self.first.extend(rest);
        if session.closed.is_some() {
            self.first.push(Update::Closed(session));
        }
    }

    fn take(&mut self, new: Followed, updates: &mut Vec<Update>) -> Result<(), CliError> {
        match new {
            Followed::Event { mark, stored } => {
                if let Some(session) = self.open.get(&mark) {
                    updates.push(Update::Event(session.clone(), event(stored)));
                }
            }
            Followed::Journal { entry, wall, .. } => match entry {
                JournalEntry::Opened(opened) => self.opened(opened.id, updates)?,
                JournalEntry::Closed(closed) => self.closed(&closed, wall, updates)?,
                JournalEntry::Gap(gap) => {
                    let hole = Hole {
                        events: gap.events,
                        cause: Some(gap.cause),
                        from: gap.from,
                        to: gap.to,
                    };
                    self.hole(gap.session.map(SessionId::mark), &hole, updates);
                }
            },
            Followed::Damaged { mark, events } => {
                let hole = Hole {
                    events,
                    cause: Some(GapCause::SpoolDamaged),
                    from: BootNs(0),
                    to: BootNs(0),
                };
                self.hole((mark != 0).then_some(mark), &hole, updates);
            }
        }
        Ok(())
    }

    fn opened(&mut self, id: SessionId, updates: &mut Vec<Update>) -> Result<(), CliError> {
        // The journal entry is a part of what the reader knows: the host and the clocks are in the
        // segment.
        let Some(history) = self.read_again(id)? else {
            return Ok(());
        };
        let session = Rc::new(history.session);
        if self.open.insert(id.mark(), session.clone()).is_none() {
            updates.push(Update::Opened(session));
        }
        Ok(())
    }

    fn closed(
        &mut self,
        closed: &SessionClosed,
        wall: WallOffset,
        updates: &mut Vec<Update>,
    ) -> Result<(), CliError> {
        let Some(known) = self.open.remove(&closed.id.mark()) else {
            return Ok(());
        };
        // Only the whole session tells whether it is complete.
        let session = match self.read_again(closed.id)? {
            Some(history) if history.session.closed.is_some() => history.session,
            _ => Session {
                closed: Some(closed.clone()),
                closed_wall: Some(wall),
                stored: closed.stored,
                ..Session::clone(&known)
            },
        };
        updates.push(Update::Closed(Rc::new(session)));
        Ok(())
    }

    /// A hole of nobody in particular counts against everybody.
    fn hole(&self, mark: Option<Mark>, hole: &Hole, updates: &mut Vec<Update>) {
        let mine = self
            .open
            .iter()
            .filter(|(open, _)| mark.is_none_or(|mark| mark == **open));
        updates.extend(mine.map(|(_, session)| Update::Hole(session.clone(), hole.clone())));
    }

    fn read_again(&self, id: SessionId) -> Result<Option<History>, CliError> {
        let local = Local::open(&self.dir)?;
        let sessions = local.sessions(Some(Selector::Id(id)))?;
        sessions
            .first()
            .map(|found| local.history(found))
            .transpose()
    }
}

fn filter(selector: Option<Selector>) -> Filter {
    match selector {
        None => Filter::All,
        Some(Selector::Serial(serial)) => Filter::Serial(serial),
        Some(Selector::Id(id)) => Filter::Id(id),
    }
}

fn history(record: &SessionRecord, timeline: Timeline) -> History {
    let holes = match spool::completeness(record, &timeline) {
        Completeness::Complete | Completeness::StillOpen => Vec::new(),
        Completeness::Missing(holes) => holes,
    };
    let holes = holes.into_iter().map(|hole| Hole {
        events: hole.count,
        cause: hole.cause,
        from: hole.from,
        to: hole.to,
    });
    History {
        session: session(record, holes.collect(), timeline.events.len() as u64),
        events: timeline.events.into_iter().map(event).collect(),
    }
}

fn session(record: &SessionRecord, holes: Vec<Hole>, stored: u64) -> Session {
    Session {
        opened: record.opened.clone(),
        closed: record.closed.clone(),
        host: record.host.clone(),
        boot_id: record.boot_id,
        wall: record.wall,
        closed_wall: record.closed_wall,
        stored,
        holes,
    }
}

fn event(stored: StoredEvent) -> Event {
    Event {
        time: stored.wall,
        event: stored.event,
    }
}

fn unreadable(error: &SpoolReadError) -> CliError {
    let (exit, hint) = match io_kind(error) {
        Some(io::ErrorKind::PermissionDenied) => (
            Exit::Permission,
            "only root may read what was recorded: run it with `sudo`",
        ),
        Some(io::ErrorKind::NotFound) => (
            Exit::NotFound,
            "`vctl-agent check` tells whether this host records sessions; `--spool DIR` reads \
             another directory",
        ),
        _ => (
            Exit::Failure,
            "`vctl-agent check` looks at the spool of this host",
        ),
    };
    CliError::new(exit, "cannot read the spool")
        .caused_by(error)
        .hint(hint)
}

fn io_kind(error: &SpoolReadError) -> Option<io::ErrorKind> {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}
