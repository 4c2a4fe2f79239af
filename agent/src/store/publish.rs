//! The shipper's loop with JetStream as its route: each chunk is one message.
//!
//! A chunk counts as shipped when the stream has stored it. The cursor in Postgres moves later, so this host continues
//! at the position that it remembers, which may be older: the consumer leaves out what is stored.
//!
//! Messages have no `Nats-Msg-Id`. All hosts share the stream's window for duplicates, so a host that sends the id of
//! another host's message would suppress that message.

use std::time::Instant;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;
use vctl_common::time::wall_now;

use super::batch_limits::BatchLimits;
use super::chunk::Chunk;
use super::idle::IdleTime;
use super::message::{self, Sender};
use super::progress::Progress;
use super::publish_error::PublishError;
use super::reader::Reader;
use super::remembered::Remembered;
use super::retry::Retry;
use super::route::{JetStream, ShipConfig};
use super::secret_id_care::SecretIdCare;
use super::ship::{TURN, oldest};
use super::start::{announce, go_on_at};
use crate::nats::{self, HEADERS, LARGEST_MESSAGE, Link, REQUEST, SUBJECT};
use crate::spool::{Durable, Position};

/// The state of the loop.
pub(super) struct Publish {
    config: ShipConfig,
    way: JetStream,
    durable: watch::Receiver<Durable>,
    progress: Progress,
    reader: Reader,
    /// The published position, once the reader has found it in the spool.
    position: Option<Position>,
    remembered: Remembered,
    link: Option<Link>,
    limits: BatchLimits,
    idle: IdleTime,
    retry: Retry,
    secret_id: Option<SecretIdCare>,
}

impl Publish {
    pub(super) fn new(
        config: ShipConfig,
        way: JetStream,
        durable: watch::Receiver<Durable>,
        progress: Progress,
    ) -> Self {
        announce(&config, &progress);
        Self {
            reader: Reader::new(&config.spool_dir, config.boot_id),
            position: None,
            remembered: Remembered::new(config.shipped),
            link: None,
            limits: BatchLimits::default(),
            idle: IdleTime::default(),
            retry: Retry::new(),
            secret_id: way
                .centre
                .clone()
                .map(|centre| SecretIdCare::new(centre, config.secret_id_after)),
            config,
            way,
            durable,
            progress,
        }
    }

    pub(super) async fn run(&mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.changed() => {}
            () = self.publish_for_ever() => {}
        }
        self.remember();
        self.link = None;
    }

    async fn publish_for_ever(&mut self) {
        loop {
            if let Err(error) = self.publish_until_idle().await {
                // Its state is unknown.
                self.link = None;
                if error.is_too_much() {
                    self.limits.too_much();
                }
                self.retry.failed(error.text(), None, &self.progress).await;
                continue;
            }
            tokio::select! {
                changed = self.durable.changed() => if changed.is_err() { return },
                () = due(self.secret_id.as_ref()) => self.look_after_secret_id().await,
            }
        }
    }

    /// Publishes all records, until none has come for a while.
    async fn publish_until_idle(&mut self) -> Result<(), PublishError> {
        if self.nothing_is_new()? {
            return Ok(());
        }
        loop {
            self.connect().await?;
            if !self.publish_all().await? {
                continue;
            }
            let idle = self.idle.length(Instant::now());
            tokio::select! {
                changed = self.durable.changed() => match changed {
                    Ok(()) => sleep(self.limits.interval()).await,
                    // The writer has ended: the agent is about to exit.
                    Err(_) => return Ok(()),
                },
                () = sleep(idle) => break,
            }
        }
        debug!("No records to publish; the connection is closed.");
        self.remember();
        self.idle.given_back();
        self.link = None;
        Ok(())
    }

    /// Finds the published position in the spool, and returns whether no record follows it.
    fn nothing_is_new(&mut self) -> Result<bool, PublishError> {
        let durable = *self.durable.borrow_and_update();
        // The durable position is not known yet.
        if durable == Durable::default() {
            return Ok(true);
        }
        let position = match self.position {
            Some(position) => position,
            None => self.begin(durable)?,
        };
        let next = self.reader.next(position, durable, self.limits.limits())?;
        Ok(next.is_none())
    }

    /// Returns the remembered position. A spool without it is another one, and is published from its beginning.
    fn begin(&mut self, durable: Durable) -> Result<Position, PublishError> {
        let position = go_on_at(
            self.remembered.position().unwrap_or_default(),
            durable,
            &mut self.reader,
            &mut self.config,
            &self.progress,
        )?;
        self.position = Some(position);
        Ok(position)
    }

    async fn connect(&mut self) -> Result<(), PublishError> {
        // First: the secret id also expires while NATS is away.
        self.look_after_secret_id().await;
        if self.link.is_none() {
            self.link = Some(nats::link(&self.way.nats).await?);
        }
        Ok(())
    }

    async fn look_after_secret_id(&mut self) {
        if let Some(care) = &mut self.secret_id
            && let Some(at) = care.look().await
        {
            self.progress
                .tell(|shipping| shipping.secret_id_expires_at = Some(at));
        }
    }

    /// Publishes the records of the spool. Returns false when its turn is over before: a session can store them faster
    /// than they are published, and the secret id has to be looked after.
    async fn publish_all(&mut self) -> Result<bool, PublishError> {
        let turn = Instant::now();
        while let (Some(position), Some(link)) = (self.position, self.link.clone()) {
            let durable = *self.durable.borrow_and_update();
            let next = self.reader.next(position, durable, self.limits.limits())?;
            let Some(chunk) = next else {
                self.progress
                    .tell(|shipping| shipping.oldest_unshipped_at = None);
                return Ok(true);
            };
            let oldest = oldest(&chunk);
            self.progress
                .tell(|shipping| shipping.oldest_unshipped_at = oldest);
            self.reader.sessions.learn_all(&chunk);
            let sender = Sender {
                machine: self.config.machine,
                spool: self.config.spool_id,
            };
            let message = message::encode(sender, &chunk, &self.reader.sessions);
            let begun = Instant::now();
            publish(&link, message).await?;
            self.limits.stored(begun.elapsed());
            self.published(&chunk);
            if turn.elapsed() >= TURN {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn published(&mut self, chunk: &Chunk) {
        self.retry.works_again();
        self.position = Some(chunk.to);
        let events = chunk.events().map(|(entry, _)| entry.count()).sum::<u64>();
        let events = usize::try_from(events).unwrap_or(usize::MAX);
        self.progress.stored(chunk.to, events, wall_now());
        if self.remembered.is_due() {
            self.remember();
        }
    }

    fn remember(&mut self) {
        let dir = &self.config.spool_dir;
        self.remembered
            .write(dir, self.config.spool_id, self.position);
    }
}

async fn due(care: Option<&SecretIdCare>) {
    match care {
        Some(care) => care.due().await,
        None => std::future::pending().await,
    }
}

/// Publishes one message, and waits until the stream has stored it.
async fn publish(link: &Link, message: Vec<u8>) -> Result<(), PublishError> {
    let most = link.client.max_payload().saturating_sub(HEADERS);
    let most = most.min(LARGEST_MESSAGE);
    if message.len() > most {
        return Err(PublishError::TooLarge {
            len: message.len(),
            most,
        });
    }
    // An error before this message says nothing about it.
    link.take_said();
    let stored = match link.stream.publish(SUBJECT, message.into()).await {
        Ok(stored) => stored.await,
        Err(error) => Err(error),
    };
    match stored {
        Ok(_) => Ok(()),
        Err(error) => Err(PublishError::of(&error, link.take_said(), REQUEST)),
    }
}
