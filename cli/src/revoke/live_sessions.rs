//! Ends the live sessions of a user: requests the end of each, and waits for all hosts together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;
use vctl_common::causes::WithCauses;
use vctl_common::count::counted;
use vctl_common::pg::{PgError, Pool};

use super::{LOOK, messages, patiently, store};
use crate::session::end::messages as end_messages;
use crate::session::end::store::{self as end_store, EndableSession, RequestState};
use crate::ui::notice;
use crate::ui::waiting::Waiting;

/// Rounds over the live sessions: a certificate may open another one while the first ones end.
const ROUNDS: usize = 3;
/// Maximum number of sessions that the database lists at a time: `sessions_of_v1`.
const LISTED: usize = 256;

/// The requests of one revocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Requests<'a> {
    /// Whole display name of the caller.
    pub(super) by: &'a str,
    pub(super) reason: Option<&'a str>,
    /// Time to wait for the hosts.
    pub(super) wait: Duration,
}

/// The result for all sessions of a user.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) count: usize,
    pub(super) missed: Vec<String>,
}

/// Ends the open sessions of the user with these names.
pub(super) async fn end_all(
    pool: &Pool,
    names: &BTreeSet<String>,
    requests: Requests<'_>,
) -> Ended {
    let mut ended = Ended::default();
    let mut requested = BTreeSet::new();
    for _ in 0..ROUNDS {
        let listing = async |client: &_| store::sessions(client, names).await;
        let sessions = match patiently(pool, requests.wait, listing).await {
            Ok(sessions) => sessions,
            Err(error) => {
                let problem = format!("sessions: {}", WithCauses(&error));
                ended.missed.push(problem);
                return ended;
            }
        };
        let is_whole = sessions.len() < LISTED;
        let new = sessions
            .into_iter()
            .filter(|session| requested.insert(session.id));
        let new: Vec<_> = new.collect();
        if new.is_empty() && is_whole {
            return ended;
        }
        if new.is_empty() {
            break;
        }
        end_round(pool, new, requests, &mut ended).await;
    }
    ended.missed.push(messages::more_sessions(requested.len()));
    ended
}

async fn end_round(
    pool: &Pool,
    sessions: Vec<EndableSession>,
    requests: Requests<'_>,
    ended: &mut Ended,
) {
    let mut open = BTreeMap::new();
    let waiting = Waiting::begin();
    for session in sessions {
        // An open request of a session stays the only one.
        let (by, reason) = (requests.by, requests.reason);
        let requesting =
            async |client: &_| end_store::request(client, by, session.id, reason).await;
        let left = requests.wait.saturating_sub(waiting.elapsed());
        match patiently(pool, left, requesting).await {
            Ok((request, _)) => {
                open.insert(request, session);
            }
            Err(error) if end_store::is_over(&error) => {}
            Err(error) => {
                let problem = format!("session {}: {}", session.id, WithCauses(&error));
                ended.missed.push(problem);
            }
        }
    }
    while !open.is_empty() {
        let is_late = waiting.elapsed() >= requests.wait;
        match states(pool, open.keys().copied()).await {
            Ok(states) => {
                for (request, state) in states {
                    let is_waiting = matches!(&state, Some(RequestState { answer: None, .. }));
                    if is_waiting && !is_late {
                        continue;
                    }
                    if let Some(session) = open.remove(&request) {
                        waiting.clear();
                        ended.take(&session, state.as_ref(), requests.wait);
                    }
                }
            }
            Err(error) if error.is_retryable() && !is_late => {}
            Err(error) => {
                let error = WithCauses(&error);
                let unread = std::mem::take(&mut open).into_values().map(|session| {
                    let id = session.id;
                    format!("session {id}: cannot read the answer of its host: {error}")
                });
                ended.missed.extend(unread);
            }
        }
        if !open.is_empty() {
            let left = counted(open.len(), "live session");
            waiting.show(&format!("the hosts of {left}"));
            sleep(LOOK).await;
        }
    }
    waiting.clear();
}

/// Returns the states of these requests; `None` for one that is gone.
async fn states(
    pool: &Pool,
    requests: impl Iterator<Item = i64>,
) -> Result<Vec<(i64, Option<RequestState>)>, PgError> {
    let client = pool.get().await?;
    let mut states = Vec::new();
    for request in requests {
        states.push((request, end_store::state(&client, request).await?));
    }
    Ok(states)
}

impl Ended {
    /// Counts a session: its request was answered, or its time is over.
    fn take(&mut self, session: &EndableSession, state: Option<&RequestState>, wait: Duration) {
        let result = match state {
            Some(RequestState {
                answer: Some(answer),
                ..
            }) => end_messages::answered(session, answer).map_err(|error| error.one_line()),
            Some(state) => Err(end_messages::unanswered(session, wait, state.is_taken).one_line()),
            None => Err("the request is gone".to_owned()),
        };
        match result {
            Ok(lines) => {
                self.count += 1;
                for line in &lines {
                    notice::note(line);
                }
            }
            Err(problem) => self
                .missed
                .push(format!("session {}: {problem}", session.id)),
        }
    }
}
