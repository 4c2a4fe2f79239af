//! Ends the live sessions of a user: requests the end of each, and waits for all hosts together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;
use vctl_common::causes::WithCauses;
use vctl_common::count::counted;
use vctl_common::pg::Client;

use super::{LOOK, store, words};
use crate::session::end::store::{self as end_store, EndableSession, RequestState};
use crate::session::end::words as end_words;
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
    client: &Client,
    names: &BTreeSet<String>,
    requests: Requests<'_>,
) -> Ended {
    let mut ended = Ended::default();
    let mut requested = BTreeSet::new();
    for _ in 0..ROUNDS {
        let sessions = match store::sessions(client, names).await {
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
        end_round(client, new, requests, &mut ended).await;
    }
    ended.missed.push(words::more_sessions(requested.len()));
    ended
}

async fn end_round(
    client: &Client,
    sessions: Vec<EndableSession>,
    requests: Requests<'_>,
    ended: &mut Ended,
) {
    let mut open = BTreeMap::new();
    for session in sessions {
        let requested = end_store::request(client, requests.by, session.id, requests.reason);
        match requested.await {
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
    let waiting = Waiting::begin();
    while !open.is_empty() {
        let is_late = waiting.elapsed() >= requests.wait;
        for request in open.keys().copied().collect::<Vec<_>>() {
            let state = end_store::state(client, request).await;
            let is_answered = !matches!(&state, Ok(Some(RequestState { answer: None, .. })));
            if !is_answered && !is_late {
                continue;
            }
            let Some(session) = open.remove(&request) else {
                continue;
            };
            let result = match state {
                Ok(Some(state)) => match &state.answer {
                    Some(answer) => {
                        end_words::answered(&session, answer).map_err(|error| error.one_line())
                    }
                    None => Err(
                        end_words::unanswered(&session, requests.wait, state.is_taken).one_line(),
                    ),
                },
                Ok(None) => Err("the request is gone".to_owned()),
                Err(error) => Err(format!(
                    "cannot read the answer of its host: {}",
                    WithCauses(&error)
                )),
            };
            match result {
                Ok(lines) => {
                    ended.count += 1;
                    waiting.clear();
                    for line in &lines {
                        notice::note(line);
                    }
                }
                Err(problem) => ended
                    .missed
                    .push(format!("session {}: {problem}", session.id)),
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
