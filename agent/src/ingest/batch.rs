//! Messages of one host, in their order: each is stored, tried again later, or refused.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::stream::Stream;
use async_nats::jetstream::{AckKind, Message as Delivered};
use tracing::{info, warn};
use uuid::Uuid;
use vctl_common::causes::WithCauses;
use vctl_common::host::HostName;
use vctl_common::pg::{Client, PgError, Pool};

use super::place::{Place, after_a_loss, fit, place};
use super::stream::{StreamError, has_earlier};
use crate::store::{HostCursor, Message, MessageError, cursor_of_host, decode, store_of_host};

/// Pause before a message that follows one which is not stored yet.
const SOON: Duration = Duration::from_millis(200);
/// Pause before a message that Postgres refuses.
const LATER: Duration = Duration::from_mins(1);
/// Attempts to store a message while other consumers move its cursor.
const ATTEMPTS: u32 = 8;

/// The consumer cannot work. All unacknowledged messages are delivered again.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error(transparent)]
    Pg(#[from] PgError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("cannot acknowledge a message")]
    Ack(#[source] async_nats::Error),
}

impl WorkError {
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Pg(error) => error.hint(),
            Self::Stream(error) => Some(error.hint()),
            Self::Ack(_) => None,
        }
    }
}

/// The parts that all hosts share.
pub(super) struct Work {
    pub(super) pool: Pool,
    pub(super) stream: Stream,
    pub(super) counted: Mutex<Counted>,
    /// Problems that were logged, by host, until the next success of the host.
    pub(super) logged: Mutex<HashMap<HostName, String>>,
}

/// Numbers since the last report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) batches: u64,
    pub(super) events: u64,
    pub(super) again: u64,
    pub(super) lost: u64,
}

/// The result for one message.
enum Done {
    Stored,
    /// It stays in the stream, and so do those that follow it.
    Wait(Duration),
    /// It can never be stored. The next message of the host shows a gap.
    Unusable,
}

impl Work {
    /// Handles messages of one host, in the order of the stream.
    pub(super) async fn handle(
        &self,
        host: &HostName,
        messages: Vec<Delivered>,
    ) -> Result<(), WorkError> {
        let mut wait = None;
        for delivered in messages {
            if let Some(wait) = wait {
                answer(&delivered, AckKind::Nak(Some(wait))).await?;
                continue;
            }
            match self.one(host, &delivered).await? {
                Done::Stored => {
                    self.works(host);
                    answer(&delivered, AckKind::Ack).await?;
                }
                Done::Wait(pause) => {
                    wait = Some(pause);
                    answer(&delivered, AckKind::Nak(wait)).await?;
                }
                Done::Unusable => answer(&delivered, AckKind::Term).await?,
            }
        }
        Ok(())
    }

    async fn one(&self, host: &HostName, delivered: &Delivered) -> Result<Done, WorkError> {
        let message = match decode(&delivered.payload) {
            Ok(message) => message,
            Err(error @ MessageError::Newer { .. }) => {
                self.problem(host, &error.to_string(), "upgrade `vctl-agent` here");
                return Ok(Done::Wait(LATER));
            }
            Err(error) => {
                let next = "its next batch shows a gap";
                self.problem(host, &error.to_string(), next);
                return Ok(Done::Unusable);
            }
        };
        let client = self.pool.get().await?;
        match self.store(&client, host, message, delivered).await {
            Err(WorkError::Pg(error)) if is_refusal(&error) => {
                let hint = error.hint().unwrap_or_default();
                self.problem(host, &WithCauses(&error).to_string(), &hint);
                Ok(Done::Wait(LATER))
            }
            other => other,
        }
    }

    async fn store(
        &self,
        client: &Client,
        host: &HostName,
        mut message: Message,
        delivered: &Delivered,
    ) -> Result<Done, WorkError> {
        let spool = message.sender.spool;
        for _ in 0..ATTEMPTS {
            let mut cursor = cursor_of_host(client, host, spool).await?;
            let mut found = place(position(cursor), &message.chunk);
            let mut is_lost = false;
            if found == Place::Ahead {
                if self.is_waited_for(delivered).await? {
                    return Ok(Done::Wait(SOON));
                }
                // Read again: the predecessor may have been stored before it left the stream.
                cursor = cursor_of_host(client, host, spool).await?;
                found = place(position(cursor), &message.chunk);
                is_lost = found == Place::Ahead;
            }
            let (from, to, blocks) = (
                message.chunk.from,
                message.chunk.to,
                message.chunk.blocks.clone(),
            );
            if is_lost {
                after_a_loss(&mut message.chunk, cursor);
            } else {
                fit(&mut message.chunk, found);
            }
            let answer = store_of_host(client, host, &mut message).await?;
            if let Some(other) = &answer.other_machine {
                self.problem(
                    host,
                    &format!("another machine reports as this host: {other}"),
                    COPIED,
                );
            }
            if answer.cursor == message.chunk.to {
                self.count(&message, found, is_lost);
                if is_lost {
                    report_loss(host, spool);
                }
                return Ok(Done::Stored);
            }
            // Another consumer moved the cursor.
            message
                .chunk
                .unreadable
                .retain(|gap| !is_lost || gap.cause != vctl_common::session::GapCause::StreamLost);
            (message.chunk.from, message.chunk.to, message.chunk.blocks) = (from, to, blocks);
        }
        Ok(Done::Wait(SOON))
    }

    async fn is_waited_for(&self, delivered: &Delivered) -> Result<bool, WorkError> {
        let Ok(info) = delivered.info() else {
            return Ok(true);
        };
        Ok(has_earlier(&self.stream, &delivered.subject, info.stream_sequence).await?)
    }

    fn count(&self, message: &Message, found: Place, is_lost: bool) {
        let events = message.chunk.events().map(|(entry, _)| entry.count());
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.batches += 1;
        counted.events += events.sum::<u64>();
        counted.again += u64::from(matches!(found, Place::Again { .. }));
        counted.lost += u64::from(is_lost);
    }

    /// Logs a problem of a host, once until it changes.
    fn problem(&self, host: &HostName, what: &str, next: &str) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.get(host).is_none_or(|last| last != what) {
            warn!(%host, error = what, next, "A batch of this host is not stored.");
            logged.insert(host.clone(), what.to_owned());
        }
    }

    fn works(&self, host: &HostName) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.remove(host).is_some() {
            info!(%host, "Batches of this host are stored again.");
        }
    }
}

fn report_loss(host: &HostName, spool: Uuid) {
    warn!(
        %host,
        %spool,
        "JetStream lost batches of this host: a gap is recorded. To ship again what the host still has, remove \
         `spool.id` in its spool while its agent is stopped."
    );
}

const COPIED: &str = "end the copied key: deploy/nats/README.md";

fn position(cursor: Option<HostCursor>) -> Option<crate::spool::Position> {
    cursor.map(|cursor| cursor.position)
}

/// Returns whether Postgres refuses this batch, and not every batch.
fn is_refusal(error: &PgError) -> bool {
    match error {
        PgError::NotInInventory(_) => true,
        PgError::Failed(_) | PgError::Denied(_) => error.db_error().is_some_and(|db| {
            let code = db.code().code();
            // `permission denied` comes from Postgres itself, `is of another host` from the function.
            let is_ours = code != "42501" || db.where_().is_some();
            ["22", "23", "54", "P0", "VC", "42501"]
                .iter()
                .any(|class| code.starts_with(class))
                && is_ours
        }),
        _ => false,
    }
}

async fn answer(delivered: &Delivered, kind: AckKind) -> Result<(), WorkError> {
    delivered.ack_with(kind).await.map_err(WorkError::Ack)
}
