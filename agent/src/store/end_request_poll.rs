//! Asks the centre for requests to end sessions, and sends the answers, over the shipper's connection.
//!
//! A new connection costs the centre a new login, so the connection stays open while sessions are open. If the centre
//! is crowded, it is given back as after shipping, and the agent asks every few minutes.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info};
use uuid::Uuid;
use vctl_common::backoff::random_fraction;
use vctl_common::id::{BootId, SessionId};
use vctl_common::pg::tokio_postgres::types::Json;
use vctl_common::pg::{Client, PgError};

use crate::end_request::channels::ShipperChannels;
use crate::end_request::{EndAnswer, EndRequest};

/// Interval between two questions over an open connection.
const ASK: Duration = Duration::from_secs(3);
/// The same while the centre has few free connections: each question then needs a login of its own.
const ASK_CROWDED: Duration = Duration::from_mins(3);
/// The same while the centre's schema has no such requests.
const ASK_UNKNOWN: Duration = Duration::from_mins(10);

/// The questions and answers of one host.
pub(super) struct EndRequestPoll {
    /// `None`: no collector runs beside this shipper.
    channels: Option<ShipperChannels>,
    boot_id: BootId,
    /// Requests that the collector has, and whose answer the centre does not have.
    taken: HashSet<i64>,
    answers: Vec<EndAnswer>,
    next: Instant,
    /// The centre has connections to spare, and knows these requests.
    may_stay: bool,
}

/// An element of the column `requests`.
#[derive(Debug, Deserialize)]
struct RequestRow {
    request: i64,
    session: Uuid,
    by: String,
    reason: Option<String>,
}

impl EndRequestPoll {
    pub(super) fn new(channels: Option<ShipperChannels>, boot_id: BootId) -> Self {
        Self {
            channels,
            boot_id,
            taken: HashSet::new(),
            answers: Vec::new(),
            next: Instant::now(),
            may_stay: true,
        }
    }

    /// Returns whether a question or an answer is due.
    pub(super) fn is_due(&mut self) -> bool {
        self.collect_answers();
        !self.answers.is_empty() || (self.is_any_open() && Instant::now() >= self.next)
    }

    /// Returns whether the connection stays open although there is nothing to ship.
    pub(super) fn needs_connection(&self) -> bool {
        self.may_stay && self.is_any_open()
    }

    /// Waits until a question or an answer is due. Loses nothing if it is dropped.
    pub(super) async fn due(&mut self) {
        let Some(channels) = &mut self.channels else {
            return std::future::pending().await;
        };
        loop {
            let is_open = *channels.open_sessions.borrow_and_update() > 0;
            tokio::select! {
                Some(answer) = channels.answers.recv() => {
                    self.answers.push(answer);
                    return;
                }
                Ok(()) = channels.open_sessions.changed() => {}
                () = sleep_until(self.next), if is_open => return,
                // The collector is about to end.
                else => return std::future::pending().await,
            }
        }
    }

    /// Sends the answers, and asks for requests if that is due. `was_refused`: Postgres refused a connection of this
    /// agent lately.
    ///
    /// # Errors
    /// The connection failed. An older schema is not an error.
    pub(super) async fn exchange(
        &mut self,
        client: &Client,
        was_refused: bool,
    ) -> Result<(), PgError> {
        self.collect_answers();
        while let Some(answer) = self.answers.first() {
            let statement = client
                .prepare_cached(include_str!("sql/answer_session_end.sql"))
                .await?;
            client
                .query_one(&statement, &[&answer.request, &Json(answer)])
                .await?;
            self.taken.remove(&answer.request);
            self.answers.remove(0);
        }
        if !self.is_any_open() || Instant::now() < self.next {
            return Ok(());
        }
        match ask(client, self.boot_id).await {
            Ok((is_crowded, requests)) => {
                self.may_stay = !is_crowded;
                self.next = Instant::now() + pause(is_crowded, was_refused);
                self.hand_over(requests);
                Ok(())
            }
            Err(error) if is_unknown(&error) => {
                debug!(%error, "The central store has no requests to end sessions.");
                self.may_stay = false;
                self.next = Instant::now() + ASK_UNKNOWN;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn hand_over(&mut self, requests: Vec<RequestRow>) {
        let Some(channels) = &self.channels else {
            return;
        };
        for row in requests {
            if self.taken.contains(&row.request) {
                continue;
            }
            let request = EndRequest {
                id: row.request,
                session: SessionId::from_uuid(row.session),
                by: row.by,
                reason: row.reason,
            };
            info!(session = %request.session, request = request.id, "The central store requests the end of a session.");
            // A full queue: the next question brings the request again.
            if channels.requests.try_send(request).is_ok() {
                self.taken.insert(row.request);
            }
        }
    }

    fn collect_answers(&mut self) {
        if let Some(channels) = &mut self.channels {
            while let Ok(answer) = channels.answers.try_recv() {
                self.answers.push(answer);
            }
        }
    }

    fn is_any_open(&self) -> bool {
        let channels = self.channels.as_ref();
        channels.is_some_and(|channels| *channels.open_sessions.borrow() > 0)
    }
}

/// Returns the time until the next question. In both cases the shipper closes its connection, so each question needs a
/// new login.
fn pause(is_crowded: bool, was_refused: bool) -> Duration {
    if !is_crowded && !was_refused {
        return ASK;
    }
    // Hosts that became crowded at once must not ask at once.
    ASK_CROWDED.mul_f64(1.0 + random_fraction() / 2.0)
}

async fn ask(client: &Client, boot_id: BootId) -> Result<(bool, Vec<RequestRow>), PgError> {
    let statement = client
        .prepare_cached(include_str!("sql/session_ends.sql"))
        .await?;
    let row = client.query_one(&statement, &[&boot_id.as_uuid()]).await?;
    let Json(requests): Json<Vec<RequestRow>> = row.try_get("requests")?;
    Ok((row.try_get("is_crowded")?, requests))
}

/// Returns whether the schema is older than these requests, or its role has no right to them.
fn is_unknown(error: &PgError) -> bool {
    let code = error.db_error().map(|db| db.code().code());
    matches!(code, Some("42883" | "42501"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowded_centre_is_asked_rarely() {
        assert_eq!(pause(false, false), ASK);
        for (is_crowded, was_refused) in [(true, false), (false, true), (true, true)] {
            let pause = pause(is_crowded, was_refused);
            assert!(pause >= ASK_CROWDED && pause <= ASK_CROWDED.mul_f64(1.5));
        }
    }
}
