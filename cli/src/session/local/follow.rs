//! Updates from the spool, by polling.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use vctl_common::id::SessionId;
use vctl_common::session::{CloseReason, GapCause, JournalEntry, SessionClosed};
use vctl_common::spool::{Followed, Follower};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::Mark;

use super::{Local, TrustedCas, filter, unreadable};
use crate::error::{CliError, Stop};
use crate::session::model::{Filter, History, MissingRange, Selector, Session, Update};
use crate::session::source;

/// Delay between two polls. Five directory listings a second cost almost nothing, and the delay is not noticeable.
const POLL: Duration = Duration::from_millis(200);

/// Ended sessions that are remembered. Late events follow the end within seconds.
const REMEMBERED: usize = 1_000;

/// Updates of sessions in the spool.
pub(crate) struct Follow {
    follower: Follower,
    dir: PathBuf,
    trusted: Rc<TrustedCas>,
    /// Open sessions, by their mark.
    open: HashMap<Mark, OpenSession>,
    /// Sessions with an end that was shown lately, oldest first.
    ended: VecDeque<(Mark, Rc<Session>)>,
    /// Sessions that the agent could not record, and may still record.
    awaited: HashSet<Mark>,
    /// Condition for the sessions to show.
    wanted: Filter,
    /// Whether following ends when all these sessions are closed.
    ends_when_closed: bool,
    /// Updates from before following began; `None` once they were returned.
    first: Option<Vec<Update>>,
}

impl Local {
    /// Follows the sessions of `selector` from their beginning. Without a selector it follows every matching session
    /// that is open now or opens later, and with `since` also the earlier ones.
    pub(super) fn following(
        &self,
        selector: Option<Selector>,
        wanted: &Filter,
    ) -> Result<Follow, CliError> {
        let mut follow = Follow {
            follower: Follower::new(&self.reader, filter(selector))
                .map_err(|error| unreadable(&error))?,
            dir: self.reader.dir().to_owned(),
            trusted: self.trusted.clone(),
            open: HashMap::new(),
            ended: VecDeque::new(),
            awaited: HashSet::new(),
            wanted: wanted.clone(),
            ends_when_closed: selector.is_some(),
            first: None,
        };
        let mut first = Vec::new();
        let is_whole = selector.is_some() || wanted.since.is_some();
        // Oldest first: in the order in which they were opened.
        for found in self.sessions(selector, wanted)?.iter().rev() {
            let record = &found.0;
            if is_whole {
                report_from_the_beginning(self.read(found)?, &mut first);
            }
            if record.closed.is_none() {
                let session = Rc::new(self.session(record, Vec::new(), record.stored));
                if !is_whole {
                    first.push(Update::Opened(session.clone(), None));
                }
                let open = OpenSession::new(session, record.last_at);
                follow.open.insert(record.opened.id.mark(), open);
            }
        }
        follow.first = Some(first);
        Ok(follow)
    }
}

fn report_from_the_beginning(history: History, updates: &mut Vec<Update>) {
    let session = Rc::new(history.session);
    let beginning = Rc::new(Session::clone(&session).beginning());
    updates.push(Update::Opened(beginning, None));
    let mut ranges = session.missing_ranges.iter().peekable();
    for event in history.events {
        while let Some(range) = ranges.next_if(|range| range.from < event.event.at) {
            updates.push(Update::Missing(session.clone(), range.clone()));
        }
        updates.push(Update::Event(session.clone(), event));
    }
    let rest = ranges.map(|range| Update::Missing(session.clone(), range.clone()));
    updates.extend(rest);
    if session.closed.is_some() {
        updates.push(Update::Closed(session));
    }
}

struct OpenSession {
    session: Rc<Session>,
    /// Time of its latest known event.
    last_at: BootNs,
}

impl OpenSession {
    fn new(session: Rc<Session>, last_at: Option<BootNs>) -> Self {
        let last_at = last_at.unwrap_or(session.opened.opened_at);
        Self { session, last_at }
    }
}

impl source::Follow for Follow {
    async fn wait(&mut self) -> Result<Vec<Update>, Stop> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        if source::Follow::is_over(self) {
            return Ok(Vec::new());
        }
        loop {
            let news = self.follower.poll().map_err(|error| unreadable(&error))?;
            let mut updates = Vec::with_capacity(news.len());
            for new in news {
                self.apply(new, &mut updates)?;
            }
            if !updates.is_empty() {
                return Ok(updates);
            }
            thread::sleep(POLL);
        }
    }

    fn is_over(&self) -> bool {
        self.ends_when_closed
            && self.open.is_empty()
            && self.awaited.is_empty()
            && self.first.is_none()
    }
}

impl Follow {
    fn apply(&mut self, new: Followed, updates: &mut Vec<Update>) -> Result<(), CliError> {
        match new {
            Followed::Event { mark, stored } => {
                if let Some(open) = self.open.get_mut(&mark) {
                    open.last_at = open.last_at.max(stored.event.at);
                    updates.push(Update::Event(open.session.clone(), stored.into()));
                } else if let Some((_, session)) = self.ended.iter().find(|(of, _)| *of == mark) {
                    updates.push(Update::Event(session.clone(), stored.into()));
                }
            }
            Followed::Journal { entry, wall, .. } => match entry {
                JournalEntry::Opened(opened) => self.opened(opened.id, updates)?,
                JournalEntry::Closed(closed) => self.closed(&closed, wall, updates)?,
                JournalEntry::Gap(gap) => {
                    let range = |_: &OpenSession| MissingRange::from(&gap);
                    self.report_missing(gap.session.map(SessionId::mark), range, updates);
                }
            },
            Followed::Damaged { mark, events } => {
                // The time of a damaged record cannot be read either.
                let range = |open: &OpenSession| MissingRange {
                    events,
                    cause: Some(GapCause::SpoolDamaged),
                    from: open.last_at,
                    to: open.last_at,
                };
                self.report_missing((mark != 0).then_some(mark), range, updates);
            }
        }
        Ok(())
    }

    fn opened(&mut self, id: SessionId, updates: &mut Vec<Update>) -> Result<(), CliError> {
        // The journal entry is not enough: the host and the clocks are in the segment.
        let Some(history) = self.read_again(id)? else {
            return Ok(());
        };
        let session = Rc::new(history.session.beginning());
        if !self
            .wanted
            .matches_local(&session.opened, session.opened_at())
        {
            return Ok(());
        }
        self.awaited.remove(&id.mark());
        self.ended.retain(|(of, _)| *of != id.mark());
        let open = OpenSession::new(session.clone(), None);
        if self.open.insert(id.mark(), open).is_none() {
            updates.push(Update::Opened(session, None));
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
        if closed.reason == CloseReason::NeverRecorded && self.ends_when_closed {
            self.awaited.insert(closed.id.mark());
        }
        let remembered = (closed.id.mark(), known.session.clone());
        self.ended.push_back(remembered);
        if self.ended.len() > REMEMBERED {
            self.ended.pop_front();
        }
        // Completeness can be judged only from the whole session.
        let session = match self.read_again(closed.id)? {
            Some(history) if history.session.closed.is_some() => history.session,
            _ => Session {
                closed: Some(closed.clone()),
                closed_wall: Some(wall),
                stored: closed.stored,
                ..Session::clone(&known.session)
            },
        };
        updates.push(Update::Closed(Rc::new(session)));
        Ok(())
    }

    /// Reports missing events. Without a mark they may be of any session, so they count against every open one.
    fn report_missing(
        &self,
        mark: Option<Mark>,
        range: impl Fn(&OpenSession) -> MissingRange,
        updates: &mut Vec<Update>,
    ) {
        let meant = |of: Mark| mark.is_none_or(|mark| mark == of);
        let mine = self.open.iter().filter(|(of, _)| meant(**of));
        updates.extend(mine.map(|(_, open)| Update::Missing(open.session.clone(), range(open))));
    }

    fn read_again(&self, id: SessionId) -> Result<Option<History>, CliError> {
        let local = Local::open(&self.dir, self.trusted.clone())?;
        let sessions = local.sessions(Some(Selector::Id(id)), &Filter::default())?;
        sessions.first().map(|found| local.read(found)).transpose()
    }
}
