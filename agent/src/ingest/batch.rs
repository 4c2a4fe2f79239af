//! Messages of one host, in their order: each is stored, tried again later, or refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::{AckKind, Context, Message as Delivered};
use tokio::time::sleep;
use tracing::{info, warn};
use uuid::Uuid;
use vctl_common::causes::WithCauses;
use vctl_common::host::HostName;
use vctl_common::pg::{Client, PgError, Pool};

use super::pause::{Pauses, Reason};
use super::place::{Place, after_a_loss, fit, place};
use super::problems::Problems;
use super::raw_message::{earlier, payload};
use super::refusal::{Refusal, refusal};
use super::stream::StreamError;
use crate::nats::STREAM;
use crate::store::{
    HostCursor, Message, MessageError, cursor_of_host, decode, names_of_host, spool_of,
    store_of_host, stored_at,
};

/// Time for the messages of one host that are taken together. The first is always tried.
const BUDGET: Duration = Duration::from_secs(5);
/// Attempts to store a message while other consumers move its cursor.
const ATTEMPTS: u32 = 8;

/// The consumer cannot work. All unacknowledged messages are delivered again.
#[derive(Debug, thiserror::Error)]
pub(super) enum WorkError {
    #[error(transparent)]
    Pg(#[from] PgError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error("cannot acknowledge a message of the stream `{STREAM}`; it is delivered again")]
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
    pool: Pool,
    context: Context,
    /// Messages that have no answer yet, by their number in the stream.
    held: Mutex<BTreeMap<u64, Delivered>>,
    pauses: Mutex<Pauses>,
    counted: Mutex<Counted>,
    problems: Mutex<Problems>,
    /// Other machines that were logged, by the host as which they report.
    others: Mutex<HashMap<HostName, String>>,
}

/// Numbers since the last report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) batches: u64,
    pub(super) events: u64,
    /// Repeated batches, which are not among `batches`.
    pub(super) again: u64,
    pub(super) lost: u64,
}

/// The result for one message.
enum Done {
    Stored,
    /// It stays in the stream, and so do those that follow it.
    Wait(Reason),
    /// It can never be stored. The next message of the host shows a gap.
    Unusable,
}

impl Work {
    pub(super) fn new(pool: Pool, context: Context) -> Self {
        Self {
            pool,
            context,
            held: Mutex::default(),
            pauses: Mutex::default(),
            counted: Mutex::default(),
            problems: Mutex::default(),
            others: Mutex::default(),
        }
    }

    /// Notes messages that will be handled.
    pub(super) fn hold<'a>(&self, messages: impl Iterator<Item = &'a Delivered>) {
        let messages = messages.map(|message| (sequence(message), message.clone()));
        lock(&self.held).extend(messages);
    }

    /// Tells the server that the held messages are in work: otherwise they go to another consumer when Postgres is slow.
    /// Messages that the client library has ahead are not among them; the cursor decides which copy is stored.
    pub(super) async fn report_progress(
        &self,
        every: Duration,
    ) -> Result<std::convert::Infallible, WorkError> {
        loop {
            sleep(every).await;
            let held: Vec<_> = lock(&self.held).values().cloned().collect();
            for message in held {
                let said = message.ack_with(AckKind::Progress).await;
                said.map_err(WorkError::Ack)?;
            }
        }
    }

    /// Handles messages of one host, in the order of the stream.
    pub(super) async fn handle(
        &self,
        host: &HostName,
        messages: Vec<Delivered>,
    ) -> Result<(), WorkError> {
        let begun = Instant::now();
        for delivered in messages {
            let number = sequence(&delivered);
            let rest = lock(&self.pauses).rest(host, number, Instant::now());
            // Messages that are taken together are answered together, so a slow host would delay all others.
            let rest = rest.or_else(|| (begun.elapsed() > BUDGET).then_some(Duration::ZERO));
            let answer = match rest {
                Some(rest) => AckKind::Nak(Some(rest)),
                None => match self.one(host, &delivered, begun).await? {
                    Done::Stored => {
                        lock(&self.pauses).end(host);
                        self.note_stored(host, number);
                        AckKind::Ack
                    }
                    Done::Wait(reason) => {
                        let now = Instant::now();
                        let pause = lock(&self.pauses).begin(host, number, reason, now);
                        AckKind::Nak(Some(pause))
                    }
                    Done::Unusable => {
                        lock(&self.problems).end(host, number);
                        AckKind::Term
                    }
                },
            };
            delivered.ack_with(answer).await.map_err(WorkError::Ack)?;
            lock(&self.held).remove(&number);
        }
        Ok(())
    }

    /// Handles one message. `begun` is the begin of those that are taken together.
    async fn one(
        &self,
        host: &HostName,
        delivered: &Delivered,
        begun: Instant,
    ) -> Result<Done, WorkError> {
        let Some(payload) = payload(&self.context, delivered, sequence(delivered)).await? else {
            // It was stored, or removed from the stream: the server does not deliver it again. A leader of
            // the stream that is behind does.
            return Ok(Done::Wait(Reason::Soon));
        };
        let message = match decode(&payload) {
            Ok(message) => message,
            Err(error @ MessageError::Newer { .. }) => {
                self.problem(
                    host,
                    delivered,
                    &error.to_string(),
                    "upgrade `vctl-agent` here",
                );
                return Ok(Done::Wait(Reason::Refused));
            }
            Err(error) => {
                let next = "its next batch shows a gap";
                self.problem(host, delivered, &error.to_string(), next);
                return Ok(Done::Unusable);
            }
        };
        let client = self.pool.get().await?;
        match self.store(&client, host, message, delivered, begun).await {
            Err(WorkError::Pg(error)) => {
                let reason = match refusal(&error) {
                    Refusal::OfEverything => return Err(error.into()),
                    Refusal::OfBatch => Reason::Refused,
                    Refusal::Now => Reason::Soon,
                };
                let hint = error.hint().unwrap_or_default();
                self.problem(host, delivered, &WithCauses(&error).to_string(), &hint);
                Ok(Done::Wait(reason))
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
        begun: Instant,
    ) -> Result<Done, WorkError> {
        let number = sequence(delivered);
        let spool = message.sender.spool;
        let unreadable = message.chunk.unreadable.clone();
        for _ in 0..ATTEMPTS {
            let mut cursor = cursor_of_host(client, host, spool).await?;
            let mut found = place(position(cursor), &message.chunk);
            let mut is_lost = false;
            if found == Place::Ahead {
                if self.has_earlier(client, host, spool, number).await? {
                    return Ok(Done::Wait(Reason::Soon));
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
                let stored = match cursor.and_then(|cursor| cursor.stored_until) {
                    Some((boot, _)) => match stored_at(client, host, spool, boot).await {
                        // Before `vctl migrate`: the gap begins with the boot.
                        Err(PgError::SchemaTooOld(_)) => None,
                        stored => stored?,
                    },
                    None => None,
                };
                message.earlier_boot = after_a_loss(&mut message.chunk, cursor, stored);
            } else {
                fit(&mut message.chunk, found);
            }
            let answer = store_of_host(client, host, &mut message).await?;
            self.note_other_machine(host, answer.other_machine);
            if answer.cursor == message.chunk.to {
                self.count(&message, found, is_lost);
                if is_lost {
                    report_loss(host, spool);
                }
                return Ok(Done::Stored);
            }
            // Another consumer moved the cursor.
            message.earlier_boot = None;
            message.chunk.unreadable.clone_from(&unreadable);
            (message.chunk.from, message.chunk.to, message.chunk.blocks) = (from, to, blocks);
            if begun.elapsed() > BUDGET {
                break;
            }
        }
        let what =
            "after each attempt, the cursor of its spool is at another position than its end";
        let next =
            "it is tried again: one consumer stores a batch, unless two agents use this name";
        self.problem(host, delivered, what, next);
        Ok(Done::Wait(Reason::Soon))
    }

    /// Returns whether the stream has an earlier message of the host. A stored message leaves the stream only after
    /// Postgres has committed it.
    async fn has_earlier(
        &self,
        client: &Client,
        host: &HostName,
        spool: Uuid,
        number: u64,
    ) -> Result<bool, WorkError> {
        for name in names_of_host(client, host, spool).await? {
            let first = earlier(&self.context, &name, number).await?;
            // Another machine may publish under a former name since.
            let counts = |payload: &[u8]| name == host.as_str() || spool_of(payload) == Some(spool);
            if first.is_some_and(|payload| counts(&payload)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn count(&self, message: &Message, found: Place, is_lost: bool) {
        let events = message.chunk.events().map(|(entry, _)| entry.count());
        let mut counted = lock(&self.counted);
        // Most rows of a repeated batch exist already.
        if matches!(found, Place::Again { .. }) {
            counted.again += 1;
        } else {
            counted.batches += 1;
            counted.events += events.sum::<u64>();
        }
        counted.lost += u64::from(is_lost);
    }

    /// Returns the numbers since the last call.
    pub(super) fn take_counted(&self) -> Counted {
        std::mem::take(&mut *lock(&self.counted))
    }

    /// Logs a problem of a host, once until it changes or is of another batch.
    /// `delivered` is the message of the batch: an operator removes it by its sequence, which is the name of NATS.
    fn problem(&self, host: &HostName, delivered: &Delivered, what: &str, next: &str) {
        let number = sequence(delivered);
        if lock(&self.problems).begin(host, number, what, Instant::now()) {
            warn!(
                %host,
                stream_sequence = number,
                subject = %delivered.subject,
                error = what,
                next,
                "A batch of this host is not stored."
            );
        }
    }

    fn note_stored(&self, host: &HostName, number: u64) {
        if lock(&self.problems).end(host, number) {
            info!(%host, stream_sequence = number, "The batch of this host is stored.");
        }
    }

    /// Returns the hosts with a batch that is not stored.
    pub(super) fn waiting(&self) -> Vec<HostName> {
        lock(&self.problems).waiting(Instant::now())
    }

    /// Logs another machine that reports as a host, once until it is another one.
    fn note_other_machine(&self, host: &HostName, other: Option<String>) {
        let mut others = lock(&self.others);
        match other {
            Some(other) if others.get(host) != Some(&other) => {
                warn!(
                    %host,
                    other,
                    next = "end the copied key: deploy/nats/README.md",
                    "Another machine reports as this host."
                );
                others.insert(host.clone(), other);
            }
            Some(_) => {}
            None => {
                others.remove(host);
            }
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

fn position(cursor: Option<HostCursor>) -> Option<crate::spool::Position> {
    cursor.map(|cursor| cursor.position)
}

/// Returns the number of a message in the stream.
pub(super) fn sequence(delivered: &Delivered) -> u64 {
    delivered.info().map_or(0, |info| info.stream_sequence)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
