//! News from the store, by asking again and again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;
use vctl_common::pg::tokio_postgres::{Row, Transaction};
use vctl_common::session::Gap;

use super::row::{Found, Unreadable};
use super::sessions::{Wanted, look_up};
use super::{Store, events, failed, snapshot};
use crate::error::Stop;
use crate::source;
use crate::view::{Event, Filter, Hole, Session, Update};

/// Hosts send a busy session's events about this often.
const POLL: Duration = Duration::from_secs(1);
/// Events may arrive a little out of order; a number this far behind the others is not waited for.
const LATEST: usize = 1_000;

/// Sessions as they go on.
pub(crate) struct Follow {
    store: Store,
    /// Those that were asked for; without them all that are open.
    ids: Option<Vec<Uuid>>,
    known: HashMap<Uuid, Known>,
    /// Those that cannot be read, and were said to be left out.
    unreadable: HashSet<Uuid>,
    is_first: bool,
}

/// What has been told of a session.
struct Known {
    session: Rc<Session>,
    stored: i64,
    gaps: i64,
    told_gaps: Vec<Gap>,
    told: Told,
}

/// Numbers of the events that were told.
#[derive(Default)]
struct Told {
    /// All up to this one were told, or will not be waited for.
    up_to: u64,
    beyond: BTreeSet<u64>,
}

impl Told {
    /// Says whether the event is new.
    fn take(&mut self, seq: u64) -> bool {
        if seq <= self.up_to || !self.beyond.insert(seq) {
            return false;
        }
        while self.beyond.len() > LATEST || self.beyond.first() == Some(&(self.up_to + 1)) {
            self.up_to = self.beyond.pop_first().unwrap_or(self.up_to);
        }
        true
    }
}

/// How far a session has got.
struct State {
    id: Uuid,
    stored: i64,
    closed: bool,
    gaps: i64,
}

impl Store {
    /// Follows `sessions` from their beginning; without them all sessions, of those that are open
    /// what they do from now on.
    pub(super) fn following(self, sessions: Option<&[Found]>) -> Follow {
        let ids = sessions.map(|all| all.iter().map(|found| found.id().as_uuid()).collect());
        Follow {
            store: self,
            ids,
            known: HashMap::new(),
            unreadable: HashSet::new(),
            is_first: true,
        }
    }
}

impl source::Follow for Follow {
    async fn wait(&mut self) -> Result<Vec<Update>, Stop> {
        loop {
            let updates = self.look().await?;
            if !updates.is_empty() || source::Follow::is_over(self) {
                return Ok(updates);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn take_notes(&mut self) -> Vec<String> {
        self.store.take_notes()
    }

    fn is_over(&self) -> bool {
        self.ids.as_ref().is_some_and(Vec::is_empty)
    }
}

impl Follow {
    async fn look(&mut self) -> Result<Vec<Update>, Stop> {
        let Self {
            store,
            ids,
            known,
            unreadable,
            is_first,
        } = self;
        // One for each look: a connection that is kept for hours outlives its credential.
        let mut client = store.client().await?;
        let transaction = snapshot(&mut client).await?;
        let mut states = states(&transaction, ids.as_deref(), known).await?;
        states.retain(|state| {
            state.closed
                || known
                    .get(&state.id)
                    .is_none_or(|known| (known.stored, known.gaps) != (state.stored, state.gaps))
        });
        let mut updates = Vec::new();
        let (rows, left_out) = with_rows(&transaction, states).await?;
        for unknown in left_out {
            if unreadable.insert(unknown.id().as_uuid()) {
                store.leave_out(&unknown);
            }
        }
        for (state, found) in rows {
            let news = if let Some(known) = known.get_mut(&state.id) {
                let news = events::after(&transaction, &found, known.told.up_to).await?;
                let holes = known.new_holes(&found);
                (news.events.into_iter().map(Event::from).collect(), holes)
            } else {
                let session = Rc::new(found.session().beginning());
                updates.push(Update::Opened(session.clone()));
                known.insert(state.id, Known::new(session, &found));
                if *is_first && ids.is_none() {
                    (Vec::new(), Vec::new())
                } else {
                    let (history, _) = events::whole(&transaction, &found).await?;
                    (history.events, history.session.holes)
                }
            };
            if let Some(known) = known.get_mut(&state.id) {
                known.tell(news, &mut updates);
                (known.stored, known.gaps) = (state.stored, state.gaps);
            }
            if state.closed {
                // Only the whole session tells whether it is complete.
                let (history, _) = events::whole(&transaction, &found).await?;
                updates.push(Update::Closed(Rc::new(history.session)));
            }
        }
        transaction.commit().await.map_err(failed)?;
        for update in &updates {
            if let Update::Closed(session) = update {
                let id = session.opened.id.as_uuid();
                known.remove(&id);
                if let Some(ids) = ids {
                    ids.retain(|other| *other != id);
                }
            }
        }
        *is_first = false;
        Ok(updates)
    }
}

impl Known {
    fn new(session: Rc<Session>, found: &Found) -> Self {
        Self {
            session,
            stored: 0,
            gaps: 0,
            told_gaps: found.record.gaps.clone(),
            told: Told::default(),
        }
    }

    fn new_holes(&mut self, found: &Found) -> Vec<Hole> {
        let gaps = found.record.gaps.iter();
        let new: Vec<Gap> = gaps
            .filter(|gap| !self.told_gaps.contains(gap))
            .cloned()
            .collect();
        self.told_gaps.extend(new.iter().cloned());
        new.iter().map(Hole::from).collect()
    }

    fn tell(&mut self, (events, holes): (Vec<Event>, Vec<Hole>), updates: &mut Vec<Update>) {
        let mut holes = holes.into_iter().peekable();
        for event in events {
            if !self.told.take(event.event.session_seq) {
                continue;
            }
            while let Some(hole) = holes.next_if(|hole| hole.from < event.event.at) {
                updates.push(Update::Hole(self.session.clone(), hole));
            }
            updates.push(Update::Event(self.session.clone(), event));
        }
        updates.extend(holes.map(|hole| Update::Hole(self.session.clone(), hole)));
    }
}

async fn states(
    transaction: &Transaction<'_>,
    ids: Option<&[Uuid]>,
    known: &HashMap<Uuid, Known>,
) -> Result<Vec<State>, Stop> {
    let open: Vec<Uuid> = known.keys().copied().collect();
    let query = include_str!("open_sessions.sql");
    let rows = transaction.query(query, &[&ids, &open]).await;
    let state = |row: &Row| State {
        id: row.get(0),
        stored: row.get(1),
        closed: row.get(2),
        gaps: row.get(3),
    };
    Ok(rows.map_err(failed)?.iter().map(state).collect())
}

/// Returns the sessions themselves, and those that cannot be read.
async fn with_rows(
    transaction: &Transaction<'_>,
    states: Vec<State>,
) -> Result<(Vec<(State, Found)>, Vec<Unreadable>), Stop> {
    if states.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let filter = Filter::default();
    let wanted = Wanted {
        ids: Some(states.iter().map(|state| state.id).collect()),
        ..Wanted::of(None, &filter)
    };
    let mut by_id: HashMap<Uuid, Found> = HashMap::new();
    let mut left_out = Vec::new();
    for row in look_up(transaction, &wanted).await? {
        match row {
            Ok(found) => drop(by_id.insert(found.id().as_uuid(), found)),
            Err(unreadable) => left_out.push(unreadable),
        }
    }
    let with_row = |state: State| Some((by_id.remove(&state.id)?, state));
    let found = states.into_iter().filter_map(with_row);
    Ok((
        found.map(|(found, state)| (state, found)).collect(),
        left_out,
    ))
}
