//! News from the store, by asking again and again.
//!
//! The cursor is a transaction: the oldest that was still running at the last look. Whatever it or a later one
//! stored is looked at again, so a batch that commits late is not skipped, and `settled` holds what of that was
//! shown already.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use postgres_types::{ToSql, Type};
use uuid::Uuid;
use vctl_common::pg::tokio_postgres::{Row, Transaction};

use super::row::{Found, Unreadable};
use super::sessions::{Wanted, look_up};
use super::told::{Known, told_before};
use super::{Store, events, failed, snapshot};
use crate::error::Stop;
use crate::session::model::{Event, Filter, Selector, Update};
use crate::session::source;
use crate::ui::notice;

/// Hosts send a busy session's events about this often.
const POLL: Duration = Duration::from_secs(1);
/// A session that arrives later than this after its opening waited in the spool of its host.
const LATE: Duration = Duration::from_mins(1);

/// Sessions as they go on.
pub(crate) struct Follow {
    store: Store,
    filter: Filter,
    selector: Option<Selector>,
    /// Sessions of the selector, until the first look.
    selected: Vec<Uuid>,
    cursor: Option<Cursor>,
    /// Sessions that are followed: shown, and open.
    known: HashMap<Uuid, Known>,
    /// Sessions at or behind the cursor that were shown to their end or passed over, with their transactions.
    settled: HashMap<Uuid, u64>,
    /// What is still to be returned.
    news: Vec<Update>,
    /// The centre could not be asked at the last look.
    is_away: bool,
}

/// How far was looked.
#[derive(Clone, Copy)]
struct Cursor {
    /// The oldest transaction that was still running then.
    oldest: u64,
    /// The database's clock at the first look.
    began: SystemTime,
}

/// How far a session has got.
struct State {
    id: Uuid,
    stored: i64,
    closed: bool,
    gaps: i64,
    /// The transaction that stored it; `None` when it is older than these are recorded.
    arrived: Option<u64>,
    /// From its opening until it arrived.
    after: Option<Duration>,
}

impl Store {
    /// Follows `sessions`, which are those of `selector`, from their beginning; without a selector all sessions
    /// that match: those that are open from now on, or from `since` all.
    pub(super) fn following(
        self,
        selector: Option<Selector>,
        filter: &Filter,
        sessions: &[Found],
    ) -> Follow {
        Follow {
            store: self,
            filter: filter.clone(),
            selector,
            selected: sessions.iter().map(|found| found.id().as_uuid()).collect(),
            cursor: None,
            known: HashMap::new(),
            settled: HashMap::new(),
            news: Vec::new(),
            is_away: false,
        }
    }
}

impl source::Follow for Follow {
    async fn wait(&mut self) -> Result<Vec<Update>, Stop> {
        loop {
            let is_first = self.cursor.is_none();
            match self.look().await {
                Ok(()) => self.is_back(),
                // What was shown so far goes on once the centre is there again.
                Err(stop) if !is_first && may_pass(&stop) => self.is_gone(&stop),
                Err(stop) => return Err(stop),
            }
            if is_first || !self.news.is_empty() || source::Follow::is_over(self) {
                return Ok(std::mem::take(&mut self.news));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn take_notes(&mut self) -> Vec<String> {
        self.store.take_notes()
    }

    fn is_over(&self) -> bool {
        self.selector.is_some()
            && self.cursor.is_some()
            && self.known.is_empty()
            && self.news.is_empty()
    }
}

fn may_pass(stop: &Stop) -> bool {
    matches!(stop, Stop::Error(error) if error.exit.is_transient())
}

impl Follow {
    fn is_gone(&mut self, stop: &Stop) {
        if let Stop::Error(error) = stop
            && !std::mem::replace(&mut self.is_away, true)
        {
            notice::note(&format!(
                "the central store cannot be read: {}; following goes on when it can",
                error.message
            ));
        }
    }

    fn is_back(&mut self) {
        if std::mem::take(&mut self.is_away) {
            notice::note("the central store can be read again");
        }
    }

    /// Looks once. An error in between loses nothing: a session counts as told when its news are kept.
    async fn look(&mut self) -> Result<(), Stop> {
        // One for each look: a connection that is kept for hours outlives its credential.
        let mut client = self.store.client().await?;
        let transaction = snapshot(&mut client).await?;
        let now = moment(&transaction).await?;
        let states = self.states(&transaction, now).await?;
        let states = self.changed(states);
        let (rows, left_out) = with_rows(&transaction, &states, &self.filter).await?;
        for unreadable in left_out {
            self.store.leave_out(&unreadable);
        }
        for (state, found) in rows {
            if self.known.contains_key(&state.id) {
                self.go_on(&transaction, state, &found).await?;
            } else {
                self.begin(&transaction, state, &found).await?;
            }
        }
        // Those that do not match, or that cannot be read.
        for state in states {
            if !self.known.contains_key(&state.id) {
                self.settle(&state);
            }
        }
        transaction.commit().await.map_err(failed)?;
        self.selected.clear();
        self.settled.retain(|_, arrived| *arrived >= now.oldest);
        let began = self.cursor.map_or(now.began, |cursor| cursor.began);
        self.cursor = Some(Cursor { began, ..now });
        Ok(())
    }

    async fn states(&self, transaction: &Transaction<'_>, now: Cursor) -> Result<Vec<State>, Stop> {
        let followed: Vec<Uuid> = self
            .selected
            .iter()
            .chain(self.known.keys())
            .copied()
            .collect();
        let Cursor { oldest, began } = self.cursor.unwrap_or(now);
        // After a restore the ids of transactions count anew.
        let oldest = oldest.min(now.oldest).to_string();
        let oldest = (!matches!(self.selector, Some(Selector::Id(_)))).then_some(oldest);
        let serial = match self.selector {
            Some(Selector::Serial(serial)) => Some(serial.to_string()),
            _ => None,
        };
        let is_first_of_all = self.cursor.is_none() && self.selector.is_none();
        let since = self.filter.since.filter(|_| is_first_of_all);
        let parameters: [(&(dyn ToSql + Sync), Type); 6] = [
            (&followed, Type::UUID_ARRAY),
            (&oldest, Type::TEXT),
            (&began, Type::TIMESTAMPTZ),
            (&serial, Type::TEXT),
            (&is_first_of_all, Type::BOOL),
            (&since, Type::TIMESTAMPTZ),
        ];
        let rows = transaction.query_typed(include_str!("followed.sql"), &parameters);
        let rows = rows.await.map_err(failed)?;
        Ok(rows.iter().map(state).collect())
    }

    /// Returns those states that there is news of.
    fn changed(&mut self, mut states: Vec<State>) -> Vec<State> {
        // Pruned: nothing will close it.
        self.known
            .retain(|id, _| states.iter().any(|state| state.id == *id));
        let is_first = self.cursor.is_none();
        let shows_past = self.filter.since.is_some();
        states.retain(|state| {
            if let Some(known) = self.known.get(&state.id) {
                return state.closed || (known.stored, known.gaps) != (state.stored, state.gaps);
            }
            let is_past =
                is_first && state.closed && !self.selected.contains(&state.id) && !shows_past;
            if is_past && let Some(arrived) = state.arrived {
                self.settled.insert(state.id, arrived);
            }
            !is_past && !self.settled.contains_key(&state.id)
        });
        states
    }

    /// Tells a session that was not told before.
    async fn begin(
        &mut self,
        transaction: &Transaction<'_>,
        state: &State,
        found: &Found,
    ) -> Result<(), Stop> {
        let session = Rc::new(found.session().beginning());
        let mut known = Known::new(session.clone(), found);
        let is_first = self.cursor.is_none();
        let from_now_on = is_first && self.selector.is_none() && self.filter.since.is_none();
        if from_now_on {
            known.told = told_before(transaction, found).await?;
            self.news.push(Update::Opened(session, None));
        } else {
            let (history, _) = events::whole(transaction, found).await?;
            let late = state.after.filter(|after| !is_first && *after >= LATE);
            self.news.push(Update::Opened(session, late));
            let past = (history.events, history.session.holes.clone());
            known.tell(past, &mut self.news);
            if state.closed {
                self.news.push(Update::Closed(Rc::new(history.session)));
                self.settle(state);
                return Ok(());
            }
        }
        (known.stored, known.gaps) = (state.stored, state.gaps);
        self.known.insert(state.id, known);
        Ok(())
    }

    /// Tells what is new of a session that was told before.
    async fn go_on(
        &mut self,
        transaction: &Transaction<'_>,
        state: &State,
        found: &Found,
    ) -> Result<(), Stop> {
        // Only the whole session tells whether it is complete.
        let whole = if state.closed {
            Some(events::whole(transaction, found).await?.0)
        } else {
            None
        };
        let Some(known) = self.known.get_mut(&state.id) else {
            return Ok(());
        };
        let new = events::after(transaction, found, known.told.up_to).await?;
        let holes = known.new_holes(found);
        let new = new.events.into_iter().map(Event::from).collect();
        known.tell((new, holes), &mut self.news);
        (known.stored, known.gaps) = (state.stored, state.gaps);
        if let Some(history) = whole {
            self.news.push(Update::Closed(Rc::new(history.session)));
            self.known.remove(&state.id);
            self.settle(state);
        }
        Ok(())
    }

    fn settle(&mut self, state: &State) {
        if let Some(arrived) = state.arrived {
            self.settled.insert(state.id, arrived);
        }
    }
}

/// Returns the oldest transaction that is running, and the time.
async fn moment(transaction: &Transaction<'_>) -> Result<Cursor, Stop> {
    let query = "select pg_snapshot_xmin(pg_current_snapshot())::text, now()";
    let row = transaction.query_one(query, &[]).await.map_err(failed)?;
    Ok(Cursor {
        oldest: number(row.get(0)).unwrap_or_default(),
        began: row.get(1),
    })
}

fn number(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

fn state(row: &Row) -> State {
    let after: Option<f64> = row.get(5);
    State {
        id: row.get(0),
        stored: row.get(1),
        closed: row.get(2),
        gaps: row.get(3),
        arrived: number(row.get(4)),
        after: after.and_then(|after| Duration::try_from_secs_f64(after).ok()),
    }
}

/// Returns the sessions that match, and those that cannot be read.
async fn with_rows<'a>(
    transaction: &Transaction<'_>,
    states: &'a [State],
    filter: &Filter,
) -> Result<(Vec<(&'a State, Found)>, Vec<Unreadable>), Stop> {
    if states.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let wanted = Wanted {
        ids: Some(states.iter().map(|state| state.id).collect()),
        ..Wanted::of(None, filter)
    };
    let mut by_id: HashMap<Uuid, Found> = HashMap::new();
    let mut left_out = Vec::new();
    for row in look_up(transaction, &wanted).await? {
        match row {
            Ok(found) => drop(by_id.insert(found.id().as_uuid(), found)),
            Err(unreadable) => left_out.push(unreadable),
        }
    }
    let with_row = |state: &'a State| Some((state, by_id.remove(&state.id)?));
    Ok((states.iter().filter_map(with_row).collect(), left_out))
}
