//! Updates from the store, by polling.
//!
//! The cursor is the oldest transaction that was still running at the last poll. Each poll reads again everything
//! that this or a later transaction stored, so a batch that commits late is not skipped. `settled` holds the sessions
//! among these that were already shown. A session arrives again, with a later transaction, if its host records more of
//! it after its end: `ended` knows what was shown of it.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use postgres_types::{ToSql, Type};
use uuid::Uuid;
use vctl_common::pg::tokio_postgres::{Row, Transaction};

use super::reported::{EndedSessions, FollowedSession, reported_before};
use super::row::{StoredSession, Unreadable};
use super::sessions::{SessionQuery, look_up};
use super::{Store, events, failed, snapshot};
use crate::centre::outage::Outage;
use crate::error::Stop;
use crate::session::model::{Event, Filter, Selector, Update};
use crate::session::source;

/// Hosts send a busy session's events about this often.
const POLL: Duration = Duration::from_secs(1);
/// A session that arrives longer after its opening than this had waited in the spool of its host.
const LATE: Duration = Duration::from_mins(1);

/// Updates of sessions in the store.
pub(crate) struct Follow {
    store: Store,
    filter: Filter,
    selector: Option<Selector>,
    /// Sessions of the selector, until the first poll.
    selected: Vec<Uuid>,
    cursor: Option<Cursor>,
    /// Sessions that are followed: already shown, and still open.
    known: HashMap<Uuid, FollowedSession>,
    /// Sessions at or after the cursor that are finished or do not match, with their transactions.
    settled: HashMap<Uuid, u64>,
    /// Sessions with an end that was shown lately.
    ended: EndedSessions,
    /// Updates not yet returned.
    updates: Vec<Update>,
    outage: Outage,
}

/// Position of the follower.
#[derive(Clone, Copy)]
struct Cursor {
    /// The oldest transaction that was still running at the last poll.
    oldest: u64,
    /// The database's clock at the first poll.
    began: SystemTime,
}

/// Progress of one session in the store.
struct SessionProgress {
    id: Uuid,
    stored: i64,
    closed: bool,
    gaps: i64,
    /// The transaction that stored it; `None` for rows older than the column.
    arrived: Option<u64>,
    /// Time from its opening to its arrival.
    after: Option<Duration>,
}

impl Store {
    /// Follows `sessions`, which are those of `selector`, from their beginning. Without a selector it follows every
    /// matching session that is open now or opens later, and with `since` also the earlier ones.
    pub(super) fn following(
        self,
        selector: Option<Selector>,
        filter: &Filter,
        sessions: &[StoredSession],
    ) -> Follow {
        Follow {
            store: self,
            filter: filter.clone(),
            selector,
            selected: sessions.iter().map(|found| found.id().as_uuid()).collect(),
            cursor: None,
            known: HashMap::new(),
            settled: HashMap::new(),
            ended: EndedSessions::default(),
            updates: Vec::new(),
            outage: Outage::default(),
        }
    }
}

impl source::Follow for Follow {
    async fn wait(&mut self) -> Result<Vec<Update>, Stop> {
        loop {
            let is_first = self.cursor.is_none();
            match self.poll().await {
                Ok(()) => self.outage.end(),
                // The state is unchanged: following continues when the store is back.
                Err(stop) if !is_first => self.outage.begin(stop, "following")?,
                Err(stop) => return Err(stop),
            }
            if is_first || !self.updates.is_empty() || source::Follow::is_over(self) {
                return Ok(std::mem::take(&mut self.updates));
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
            && self.ended.awaited().next().is_none()
            && self.updates.is_empty()
    }
}

impl Follow {
    /// Polls once. An error in between loses nothing: a session is recorded as reported together with its updates.
    async fn poll(&mut self) -> Result<(), Stop> {
        // A new client for each poll: a connection held for hours would outlive its credential.
        let mut client = self.store.client().await?;
        let transaction = snapshot(&mut client).await?;
        let now = current_cursor(&transaction).await?;
        let states = self.states(&transaction, now).await?;
        let states = self.changed(states);
        let (rows, left_out) = with_rows(&transaction, &states, &self.filter).await?;
        for unreadable in left_out {
            self.store.note_unreadable(&unreadable);
        }
        for (state, found) in rows {
            if self.known.contains_key(&state.id) {
                self.report_changes(&transaction, state, &found).await?;
            } else {
                self.report_new(&transaction, state, &found).await?;
            }
        }
        // Sessions that do not match, or that cannot be read.
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

    async fn states(
        &self,
        transaction: &Transaction<'_>,
        now: Cursor,
    ) -> Result<Vec<SessionProgress>, Stop> {
        let followed: Vec<Uuid> = self
            .selected
            .iter()
            .chain(self.known.keys())
            .copied()
            .chain(self.ended.awaited())
            .collect();
        let Cursor { oldest, began } = self.cursor.unwrap_or(now);
        // After a restore from a dump, transaction ids start anew.
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
        Ok(rows.iter().map(progress_of).collect())
    }

    /// Returns only the states that changed since the last poll.
    fn changed(&mut self, mut states: Vec<SessionProgress>) -> Vec<SessionProgress> {
        // Sessions that retention deleted: no row will ever close them.
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
            let settled = self.settled.get(&state.id).copied();
            let is_settled = settled.is_some() && settled == state.arrived;
            if is_past || is_settled || self.ended.has(state.id, state.arrived) {
                return false;
            }
            if let Some(ended) = self.ended.remove(state.id) {
                self.known.insert(state.id, ended);
            }
            true
        });
        states
    }

    /// Reports a session for the first time.
    async fn report_new(
        &mut self,
        transaction: &Transaction<'_>,
        state: &SessionProgress,
        found: &StoredSession,
    ) -> Result<(), Stop> {
        let session = Rc::new(found.session().beginning());
        let mut known = FollowedSession::new(session.clone(), found);
        let is_first = self.cursor.is_none();
        let from_now_on = is_first && self.selector.is_none() && self.filter.since.is_none();
        if from_now_on {
            known.reported = reported_before(transaction, found).await?;
            self.updates.push(Update::Opened(session, None));
        } else {
            let (history, _) = events::read_whole(transaction, found).await?;
            let late = state.after.filter(|after| !is_first && *after >= LATE);
            self.updates.push(Update::Opened(session, late));
            let past = (history.events, history.session.missing_ranges.clone());
            known.report(past, &mut self.updates);
            if state.closed {
                known.end(&history.session, state.arrived, false);
                self.updates.push(Update::Closed(Rc::new(history.session)));
                self.settle(state);
                self.ended.insert(state.id, known);
                return Ok(());
            }
        }
        (known.stored, known.gaps) = (state.stored, state.gaps);
        self.known.insert(state.id, known);
        Ok(())
    }

    /// Reports the changes of a session that was reported before.
    async fn report_changes(
        &mut self,
        transaction: &Transaction<'_>,
        state: &SessionProgress,
        found: &StoredSession,
    ) -> Result<(), Stop> {
        // Completeness can be judged only from the whole session.
        let history = if state.closed {
            Some(events::read_whole(transaction, found).await?.0)
        } else {
            None
        };
        let Some(known) = self.known.get_mut(&state.id) else {
            return Ok(());
        };
        if known.is_recorded_again() {
            let session = Rc::new(found.session().beginning());
            self.updates.push(Update::Opened(session.clone(), None));
            known.begin_again(session);
        }
        let new = events::after(transaction, found, known.reported.up_to).await?;
        let ranges = known.new_missing_ranges(found);
        let new = new.events.into_iter().map(Event::from).collect();
        known.report((new, ranges), &mut self.updates);
        (known.stored, known.gaps) = (state.stored, state.gaps);
        if let Some(history) = history {
            if let Some(mut known) = self.known.remove(&state.id) {
                known.end(&history.session, state.arrived, true);
                self.ended.insert(state.id, known);
            }
            self.updates.push(Update::Closed(Rc::new(history.session)));
            self.settle(state);
        }
        Ok(())
    }

    fn settle(&mut self, state: &SessionProgress) {
        if let Some(arrived) = state.arrived {
            self.settled.insert(state.id, arrived);
        }
    }
}

/// Returns the oldest transaction that is running, and the time of the database.
async fn current_cursor(transaction: &Transaction<'_>) -> Result<Cursor, Stop> {
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

fn progress_of(row: &Row) -> SessionProgress {
    let after: Option<f64> = row.get(5);
    SessionProgress {
        id: row.get(0),
        stored: row.get(1),
        closed: row.get(2),
        gaps: row.get(3),
        arrived: number(row.get(4)),
        after: after.and_then(|after| Duration::try_from_secs_f64(after).ok()),
    }
}

/// Returns the sessions that match, and the rows that cannot be read.
async fn with_rows<'a>(
    transaction: &Transaction<'_>,
    states: &'a [SessionProgress],
    filter: &Filter,
) -> Result<(Vec<(&'a SessionProgress, StoredSession)>, Vec<Unreadable>), Stop> {
    if states.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let wanted = SessionQuery {
        ids: Some(states.iter().map(|state| state.id).collect()),
        ..SessionQuery::new(None, filter)
    };
    let mut by_id: HashMap<Uuid, StoredSession> = HashMap::new();
    let mut left_out = Vec::new();
    for row in look_up(transaction, &wanted).await? {
        match row {
            Ok(found) => drop(by_id.insert(found.id().as_uuid(), found)),
            Err(unreadable) => left_out.push(unreadable),
        }
    }
    let with_row = |state: &'a SessionProgress| Some((state, by_id.remove(&state.id)?));
    Ok((states.iter().filter_map(with_row).collect(), left_out))
}
