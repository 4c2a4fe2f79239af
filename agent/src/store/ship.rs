//! The shipper's loop.

use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};
use vctl_common::pg::Client;
use vctl_common::session::{Gap, GapCause};
use vctl_common::spool::BlockEntry;
use vctl_common::status::Millis;
use vctl_common::time::{BootNs, wall_now};

use super::batch_limits::BatchLimits;
use super::chunk::Chunk;
use super::columns::Columns;
use super::connection::{Connection, ShipError, answer};
use super::end_request_poll::EndRequestPoll;
use super::idle::IdleTime;
use super::ingest::{self, Answer};
use super::message::Sender;
use super::progress::Progress;
use super::reader::{Reader, Sought};
use super::remembered::Remembered;
use super::retry::Retry;
use super::route::ShipConfig;
use super::secret_id_care::SecretIdCare;
use super::start::{announce, go_on_at, is_dropped_between};
use crate::centre::Centre;
use crate::end_request::channels::ShipperChannels;
use crate::spool::{Durable, Position};

/// Time after which the shipper looks at its credential also while records come faster than they are shipped.
pub(super) const TURN: Duration = Duration::from_mins(1);
/// At its end, the agent waits this long until its credentials are revoked.
const CLOSING: Duration = Duration::from_secs(3);

/// The state of the loop.
pub(super) struct Ship {
    config: ShipConfig,
    centre: Centre,
    durable: watch::Receiver<Durable>,
    progress: Progress,
    reader: Reader,
    /// The centre's position in the spool, once it is known.
    position: Option<Position>,
    remembered: Remembered,
    /// The centre's position when it had lost records that this spool has dropped. The next call stores a gap.
    lost_at: Option<Position>,
    connection: Option<Connection>,
    client: Option<Client>,
    limits: BatchLimits,
    idle: IdleTime,
    retry: Retry,
    end_requests: EndRequestPoll,
    secret_id: SecretIdCare,
}

impl Ship {
    pub(super) fn new(
        config: ShipConfig,
        centre: Centre,
        durable: watch::Receiver<Durable>,
        channels: Option<ShipperChannels>,
        progress: Progress,
    ) -> Self {
        announce(&config, &progress);
        Self {
            reader: Reader::new(&config.spool_dir, config.boot_id),
            position: None,
            remembered: Remembered::new(config.shipped),
            lost_at: None,
            connection: None,
            client: None,
            limits: BatchLimits::default(),
            idle: IdleTime::default(),
            retry: Retry::new(),
            end_requests: EndRequestPoll::new(channels, config.boot_id),
            secret_id: SecretIdCare::new(centre.clone(), config.secret_id_after),
            config,
            centre,
            durable,
            progress,
        }
    }

    pub(super) async fn run(&mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.changed() => {}
            () = self.ship_for_ever() => {}
        }
        self.remember();
        self.client = None;
        if let Some(connection) = self.connection.take() {
            let _ = timeout(CLOSING, connection.close()).await;
        }
    }

    async fn ship_for_ever(&mut self) {
        loop {
            if let Err(error) = self.ship_until_idle().await {
                self.failed(&error).await;
                continue;
            }
            tokio::select! {
                changed = self.durable.changed() => if changed.is_err() { return },
                () = self.end_requests.due() => {}
                () = self.secret_id.due() => {
                    if let Some(at) = self.secret_id.look().await {
                        self.progress.tell(|shipping| shipping.secret_id_expires_at = Some(at));
                    }
                }
            }
        }
    }

    async fn failed(&mut self, error: &ShipError) {
        // Its state is unknown, and a new credential may be needed.
        if let Some(client) = self.client.take() {
            client.discard();
        }
        self.position = None;
        if error.is_too_much() {
            self.limits.too_much();
        }
        if error.is_crowded() {
            self.idle.refused(Instant::now());
        }
        let (text, least) = (error.text(), error.retry_after());
        self.retry.failed(text, least, &self.progress).await;
    }

    /// Ships all records, until none has come for a while.
    async fn ship_until_idle(&mut self) -> Result<(), ShipError> {
        if !self.end_requests.is_due() && self.nothing_is_new()? {
            return Ok(());
        }
        loop {
            self.connect().await?;
            let is_all = self.ship_all().await?;
            self.exchange_end_requests().await?;
            if !is_all {
                continue;
            }
            let idle = self.idle.length(Instant::now());
            let stays =
                self.end_requests.needs_connection() && !self.idle.is_crowded(Instant::now());
            tokio::select! {
                changed = self.durable.changed() => match changed {
                    Ok(()) => sleep(self.limits.interval()).await,
                    // The writer has ended: the agent is about to exit.
                    Err(_) => return Ok(()),
                },
                () = self.end_requests.due() => {}
                () = sleep(idle), if !stays => break,
            }
        }
        debug!("No records to ship; the connection is closed.");
        self.remember();
        self.idle.given_back();
        if let Some(client) = self.client.take() {
            client.discard();
        }
        Ok(())
    }

    /// Returns whether all records were certainly shipped before. In that case a starting agent
    /// does not connect to the centre.
    fn nothing_is_new(&mut self) -> Result<bool, ShipError> {
        let durable = *self.durable.borrow_and_update();
        // The durable position is not known yet.
        if durable == Durable::default() {
            return Ok(true);
        }
        let from = self
            .position
            .or(self.remembered.position())
            .unwrap_or_default();
        if self.position.is_none() && self.reader.seek(from, durable)? == Sought::Elsewhere {
            return Ok(false);
        }
        let limits = self.limits.limits();
        let next = self.reader.next(from, durable, limits)?;
        if next.is_none() {
            self.progress.set_shipped(from);
        }
        Ok(next.is_none())
    }

    /// Gets a connection with a valid credential. For a new one, reads the position to continue
    /// from.
    async fn connect(&mut self) -> Result<(), ShipError> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(&self.centre).await?);
        }
        // Returned to the pool and taken again: the pool checks it then.
        self.client = None;
        if let Some(connection) = &mut self.connection {
            self.client = Some(connection.client().await?);
            if let Some(expiry) = connection.look_after_secret_id(wall_now()).await {
                self.secret_id.looked();
                let at = Millis::from_time(expiry.at);
                self.progress
                    .tell(|shipping| shipping.secret_id_expires_at = Some(at));
            }
        }
        if self.position.is_none()
            && let Some(client) = &self.client
        {
            let cursor = answer(ingest::cursor(client, self.config.spool_id)).await?;
            self.go_on_at(cursor)?;
        }
        Ok(())
    }

    /// Continues at the centre's position. A centre without this spool gets all of it.
    fn go_on_at(&mut self, cursor: Option<Position>) -> Result<(), ShipError> {
        let durable = *self.durable.borrow_and_update();
        let spool = self.config.spool_id;
        let cursor = cursor.unwrap_or_default();
        let shipped = self.progress.shipped().max(self.remembered.position());
        // Stored, if the cursor has moved since: the answer to that call was lost.
        self.lost_at = self.lost_at.filter(|at| *at == cursor);
        if is_dropped_between(&self.config.spool_dir, cursor, shipped)? {
            self.lost_at = Some(cursor);
        }
        let position = go_on_at(
            cursor,
            durable,
            &mut self.reader,
            &mut self.config,
            &self.progress,
        )?;
        if spool != self.config.spool_id {
            // Another spool: what was shipped is of the one before.
            self.lost_at = None;
        } else if self.lost_at.is_some() {
            warn!(
                cursor_segment = cursor.segment,
                "The central store lost records that this host has dropped: a gap is recorded."
            );
        }
        self.position = Some(position);
        Ok(())
    }

    /// Ships the records of the spool. Returns false when its turn is over before: a session can store them faster than
    /// they are shipped, and the requests to end it have to be asked for.
    async fn ship_all(&mut self) -> Result<bool, ShipError> {
        let begun = Instant::now();
        let mut ahead = None;
        while let (Some(position), Some(client)) = (self.position, &self.client) {
            let durable = *self.durable.borrow_and_update();
            let limits = self.limits.limits();
            let ready = ahead.take().filter(|chunk: &Chunk| chunk.from == position);
            let next = match ready {
                Some(chunk) => Some(chunk),
                None => self.reader.next(position, durable, limits)?,
            };
            let Some(mut chunk) = next else {
                self.progress
                    .tell(|shipping| shipping.oldest_unshipped_at = None);
                return Ok(true);
            };
            if self.lost_at.is_some() {
                chunk.unreadable.push(centre_lost(&chunk));
            }
            let oldest = oldest(&chunk);
            self.progress
                .tell(|shipping| shipping.oldest_unshipped_at = oldest);
            let columns = Columns::of(&chunk, &mut self.reader.sessions);
            let sender = Sender {
                machine: self.config.machine,
                spool: self.config.spool_id,
            };
            let called = Instant::now();
            let store = answer(ingest::store(client, sender, &chunk, &columns));
            let reader = &mut self.reader;
            let read_ahead = async {
                // Sends the call first; the time until its answer is free.
                yield_now().await;
                // A host that has caught up does not read further.
                let is_more = (chunk.to.segment, chunk.to.offset) < (durable.segment, durable.end);
                // Data that cannot be read is reported when its turn comes.
                is_more.then(|| reader.next(chunk.to, durable, limits).ok().flatten())
            };
            let (answered, read) = tokio::join!(store, read_ahead);
            let answered = answered?;
            self.limits.stored(called.elapsed());
            ahead = read.flatten();
            let events = columns.len();
            self.answered(&chunk, events, answered)?;
            if self.end_requests.is_due() || begun.elapsed() >= TURN {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn exchange_end_requests(&mut self) -> Result<(), ShipError> {
        if let Some(client) = &self.client
            && self.end_requests.is_due()
        {
            let was_refused = self.idle.is_crowded(Instant::now());
            answer(self.end_requests.exchange(client, was_refused)).await?;
            self.retry.works_again();
            self.progress.tell(|shipping| shipping.problem = None);
        }
        Ok(())
    }

    fn answered(&mut self, chunk: &Chunk, events: usize, said: Answer) -> Result<(), ShipError> {
        self.note_other_machine(said.other_machine);
        if said.cursor != chunk.to {
            // Another agent ships this spool, or the answer to an earlier call was lost.
            debug!(cursor = ?said.cursor, "The cursor of the central store is elsewhere.");
            return self.go_on_at(Some(said.cursor));
        }
        self.retry.works_again();
        self.lost_at = None;
        self.position = Some(chunk.to);
        self.progress.stored(chunk.to, events, wall_now());
        if self.remembered.is_due() {
            self.remember();
        }
        Ok(())
    }

    fn note_other_machine(&mut self, other: Option<String>) {
        let known = self.progress.status().other_machine;
        if other == known {
            return;
        }
        if let Some(other) = &other {
            warn!(
                other,
                "Another machine reports as this host: its credential was copied. End it \
                 with `vctl host revoke`, then run `vctl host enroll`."
            );
        }
        self.progress
            .tell(|shipping| shipping.other_machine = other);
    }

    fn remember(&mut self) {
        // The remembered position proves the loss until its gap is stored.
        if self.lost_at.is_some() {
            return;
        }
        let dir = &self.config.spool_dir;
        self.remembered
            .write(dir, self.config.spool_id, self.position);
    }
}

/// Returns the gap before a chunk that follows lost records. It begins with the boot: it is not known where the centre's
/// records end.
fn centre_lost(chunk: &Chunk) -> Gap {
    let first = chunk.new_blocks().map(BlockEntry::first_at);
    let to = first.filter(|at| *at != BootNs(0)).min();
    let to = to.unwrap_or(BootNs(0));
    Gap::new(GapCause::CentreLost, None, BootNs(0), to)
}

/// Returns the time of the first new event.
pub(super) fn oldest(chunk: &Chunk) -> Option<Millis> {
    chunk
        .new_blocks()
        .map(|entry| (entry.wall_offset(), entry.first_at()))
        .filter(|(_, at)| *at != BootNs(0))
        .map(|(wall, at)| Millis::from_time(wall.wall_time(at)))
        .min()
}
