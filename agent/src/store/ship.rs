//! The shipper's loop, and its thread.

use std::io;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use uuid::Uuid;
use vctl_common::backoff::Backoff;
use vctl_common::id::BootId;
use vctl_common::pg::Client;
use vctl_common::status::Millis;
use vctl_common::time::{BootNs, wall_now};

use super::chunk::Chunk;
use super::columns::Columns;
use super::hold::Hold;
use super::ingest::{self, Answer, Sender};
use super::link::{Centre, Link, ShipError, answer};
use super::pace::Pace;
use super::progress::Progress;
use super::tail::{Sought, Tail};
use crate::spool::{Durable, Position, new_id, remember_shipped};

/// How often it is written down how far the spool is shipped.
const REMEMBER: Duration = Duration::from_secs(10);
/// The end of the agent waits this long for what was taken at the centre to be given back.
const CLOSING: Duration = Duration::from_secs(3);

/// The pause after the first failure, and the longest one.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// What is shipped, and where to.
#[derive(Clone, Debug)]
pub struct ShipConfig {
    pub spool_dir: PathBuf,
    pub spool_id: Uuid,
    pub boot_id: BootId,
    pub machine: Uuid,
    /// How far it was shipped when the spool was opened, as far as that is known here.
    pub shipped: Option<Position>,
    /// Events that earlier agents of this boot shipped.
    pub events_shipped: u64,
    pub centre: Centre,
}

/// The shipper's thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Shipper {
    progress: Progress,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Shipper {
    /// Starts shipping. `durable` is the spool writer's word on how far that may go.
    ///
    /// # Errors
    /// The thread cannot be started. What goes wrong later is told by `progress` and in the log.
    pub fn start(config: ShipConfig, durable: watch::Receiver<Durable>) -> io::Result<Self> {
        let progress = Progress::default();
        let (stop, stopped) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut ship = Ship::new(config, durable, progress.clone());
        let thread = thread::Builder::new()
            .name("shipper".to_owned())
            .spawn(move || runtime.block_on(ship.run(stopped)))?;
        Ok(Self {
            progress,
            stop,
            thread: Some(thread),
        })
    }

    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn!("The shipper's thread had panicked.");
        }
    }
}

struct Ship {
    config: ShipConfig,
    durable: watch::Receiver<Durable>,
    progress: Progress,
    tail: Tail,
    /// Where the centre has the spool, once it was asked.
    position: Option<Position>,
    /// What `shipped.json` says, and since when.
    remembered: Option<Position>,
    remembered_at: Instant,
    link: Option<Link>,
    client: Option<Client>,
    pace: Pace,
    hold: Hold,
    backoff: Backoff,
    /// The problem that was logged last, until the next success.
    logged: Option<String>,
}

impl Ship {
    fn new(config: ShipConfig, durable: watch::Receiver<Durable>, progress: Progress) -> Self {
        let spool = config.spool_id;
        progress.tell(|shipping| {
            shipping.spool_id = Some(spool);
            shipping.events_shipped = config.events_shipped;
        });
        Self {
            tail: Tail::new(&config.spool_dir, config.boot_id),
            position: None,
            remembered: config.shipped,
            remembered_at: Instant::now(),
            link: None,
            client: None,
            pace: Pace::default(),
            hold: Hold::default(),
            backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
            logged: None,
            config,
            durable,
            progress,
        }
    }

    async fn run(&mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.changed() => {}
            () = self.ship_for_ever() => {}
        }
        self.remember();
        self.client = None;
        if let Some(link) = self.link.take() {
            let _ = timeout(CLOSING, link.close()).await;
        }
    }

    async fn ship_for_ever(&mut self) {
        loop {
            if let Err(error) = self.ship_until_idle().await {
                self.failed(&error).await;
            } else if self.durable.changed().await.is_err() {
                return;
            }
        }
    }

    async fn failed(&mut self, error: &ShipError) {
        // Its state is unknown, and another credential may be what it takes.
        if let Some(client) = self.client.take() {
            client.discard();
        }
        self.position = None;
        if error.is_too_much() {
            self.pace.too_much();
        }
        if error.is_crowded() {
            self.hold.refused(Instant::now());
        }
        let text = error.text();
        let wait = self.backoff.next_pause();
        let wait = error.retry_after().map_or(wait, |after| wait.max(after));
        if self.logged.as_ref() != Some(&text) {
            self.logged = Some(text.clone());
            warn!(
                error = text,
                retry_in_s = wait.as_secs_f64(),
                "Nothing can be shipped; what is recorded stays in the spool."
            );
        } else {
            debug!(error = text, "Still nothing can be shipped.");
        }
        self.progress.tell(|shipping| shipping.problem = Some(text));
        sleep(wait).await;
    }

    /// Ships whatever there is, until nothing has come for a while.
    async fn ship_until_idle(&mut self) -> Result<(), ShipError> {
        if self.nothing_is_new()? {
            return Ok(());
        }
        loop {
            self.connect().await?;
            self.ship_all().await?;
            let hold = self.hold.length(Instant::now());
            match timeout(hold, self.durable.changed()).await {
                Ok(Ok(())) => sleep(self.pace.interval()).await,
                // The writer is gone: the agent is about to end.
                Ok(Err(_)) => return Ok(()),
                Err(_) => break,
            }
        }
        debug!("Nothing to ship; the connection is given back.");
        self.remember();
        self.hold.given_back();
        if let Some(client) = self.client.take() {
            client.discard();
        }
        Ok(())
    }

    /// Whether all that is here was shipped, as far as is known without asking: then an agent that
    /// starts with nothing to tell leaves the centre alone.
    fn nothing_is_new(&mut self) -> Result<bool, ShipError> {
        let durable = *self.durable.borrow_and_update();
        // Nothing is known to be durable yet.
        if durable == Durable::default() {
            return Ok(true);
        }
        let from = self.position.or(self.remembered).unwrap_or_default();
        if self.position.is_none() && self.tail.seek(from, durable)? == Sought::Elsewhere {
            return Ok(false);
        }
        let limits = self.pace.limits();
        let next = self.tail.next(from, durable, limits)?;
        if next.is_none() {
            self.progress.set_shipped(from);
        }
        Ok(next.is_none())
    }

    /// Gets a connection whose credential lives, and on a new one finds out where to go on.
    async fn connect(&mut self) -> Result<(), ShipError> {
        if self.link.is_none() {
            self.link = Some(Link::open(&self.config.centre).await?);
        }
        // Given back and taken again: that is when it is looked at.
        self.client = None;
        if let Some(link) = &mut self.link {
            self.client = Some(link.client().await?);
            if let Some(expiry) = link.look_after_secret_id(wall_now()).await {
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

    /// Goes on where the centre says. A centre that knows nothing of this spool gets all of it.
    fn go_on_at(&mut self, cursor: Option<Position>) -> Result<(), ShipError> {
        let durable = *self.durable.borrow_and_update();
        let mut position = cursor.unwrap_or_default();
        if self.tail.seek(position, durable)? == Sought::Elsewhere {
            let dir = &self.config.spool_dir;
            self.config.spool_id = new_id(dir).map_err(ShipError::NewId)?;
            warn!(
                cursor_segment = position.segment,
                cursor_offset = position.offset,
                newest_segment = durable.segment,
                spool = %self.config.spool_id,
                "The spool is not the one that was shipped (wiped, or put back from a copy); it gets \
                 a new id and is shipped once more. The centre leaves out what it has."
            );
            let spool = self.config.spool_id;
            self.progress
                .tell(|shipping| shipping.spool_id = Some(spool));
            position = Position::default();
            self.tail.seek(position, durable)?;
        }
        self.position = Some(position);
        self.progress.set_shipped(position);
        Ok(())
    }

    async fn ship_all(&mut self) -> Result<(), ShipError> {
        let mut ahead = None;
        while let (Some(position), Some(client)) = (self.position, &self.client) {
            let durable = *self.durable.borrow_and_update();
            let limits = self.pace.limits();
            let ready = ahead.take().filter(|chunk: &Chunk| chunk.from == position);
            let next = match ready {
                Some(chunk) => Some(chunk),
                None => self.tail.next(position, durable, limits)?,
            };
            let Some(chunk) = next else {
                self.progress
                    .tell(|shipping| shipping.oldest_unshipped_at = None);
                return Ok(());
            };
            let oldest = oldest(&chunk);
            self.progress
                .tell(|shipping| shipping.oldest_unshipped_at = oldest);
            let columns = Columns::of(&chunk, &mut self.tail.sessions);
            let sender = Sender {
                machine: self.config.machine,
                spool: self.config.spool_id,
            };
            let begun = Instant::now();
            let store = answer(ingest::store(client, sender, &chunk, &columns));
            let tail = &mut self.tail;
            let read_ahead = async {
                // First this call goes out; then there is time until its answer.
                yield_now().await;
                // A host that has caught up does not look for more than there is.
                let is_more = (chunk.to.segment, chunk.to.offset) < (durable.segment, durable.end);
                // What cannot be read now is told when its turn comes.
                is_more.then(|| tail.next(chunk.to, durable, limits).ok().flatten())
            };
            let (answered, read) = tokio::join!(store, read_ahead);
            let answered = answered?;
            self.pace.stored(begun.elapsed());
            ahead = read.flatten();
            let events = columns.len();
            self.answered(&chunk, events, answered)?;
        }
        Ok(())
    }

    fn answered(&mut self, chunk: &Chunk, events: usize, said: Answer) -> Result<(), ShipError> {
        self.note_other_machine(said.other_machine);
        if said.cursor != chunk.to {
            // Another agent ships this spool, or the answer to an earlier call was lost.
            debug!(cursor = ?said.cursor, "The centre's cursor is elsewhere.");
            return self.go_on_at(Some(said.cursor));
        }
        if self.backoff.is_failing() {
            info!("What is recorded is shipped again.");
        }
        self.backoff.reset();
        self.logged = None;
        self.position = Some(chunk.to);
        self.progress.stored(chunk.to, events, wall_now());
        if self.remembered_at.elapsed() >= REMEMBER {
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
        self.remembered_at = Instant::now();
        let Some(position) = self.position.filter(|p| self.remembered != Some(*p)) else {
            return;
        };
        match remember_shipped(&self.config.spool_dir, self.config.spool_id, position) {
            Ok(()) => self.remembered = Some(position),
            Err(error) => debug!(%error, "How far the spool is shipped cannot be written down."),
        }
    }
}

/// When the first of what is new in it happened.
fn oldest(chunk: &Chunk) -> Option<Millis> {
    chunk
        .new_blocks()
        .map(|entry| (entry.wall_offset(), entry.first_at()))
        .filter(|(_, at)| *at != BootNs(0))
        .map(|(wall, at)| Millis::from_time(wall.wall_time(at)))
        .min()
}
