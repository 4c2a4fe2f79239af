//! READ FIRST: the collector's one loop.
//!
//! ```text
//! ring ──drain──▶ decode ▶ attribute ▶ redact ▶ spool batch ──commit──▶ ring given back
//! hook ──stamp──▶ journal entry, durable ▶ kernel mark ▶ answer to the hook
//! ```
//!
//! One thread, no queues: what has not been written to the spool is still in the ring, and a
//! `kill -9` at any line loses nothing. The ring is read on a timer, because waking the agent costs
//! the kernel twenty times what a record does: often while a session is busy, less and less often
//! when it is quiet.

mod budget;
mod collector;
mod drain;
mod ending;
mod held;
mod late;
mod login;
mod markers;
mod numbers;
mod pins;
mod recover;
mod shipping;
mod unstamped;

use std::time::Duration;

use anyhow::Context;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::config::Config;
use crate::metrics::{self, Listen, Listener, Scrape};
use crate::session::login::LoginReader;
use crate::session::server::Server;
use crate::store::Centre;
use crate::trusted_dir;

use collector::Collector;
use markers::MarkerWatch;

/// Between two looks at the ring of a busy session.
const BUSY: Duration = Duration::from_millis(25);
/// And of one that has been quiet for some seconds: tokio wakes twice for a sleep of this length.
const IDLE: Duration = Duration::from_millis(1500);
/// Looking after what no event tells of: markers of late logins, sessions whose end was lost.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// Without a session there is nothing to look after but markers.
const NO_SESSION: Duration = Duration::from_secs(30);
/// Logins that may wait for the loop.
const LOGINS: usize = 64;

/// Runs the collector until it is told to stop. What is in the kernel stays there. What is recorded
/// goes to `centre` as well, if there is one.
///
/// # Errors
/// Whatever keeps it from starting: another agent, a kernel the probe must not run on, a spool
/// that cannot be written.
pub fn collect(config: Config, centre: Option<Centre>) -> anyhow::Result<()> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(config, centre))
}

async fn run(config: Config, centre: Option<Centre>) -> anyhow::Result<()> {
    for dir in [&config.run_dir, &config.spool_dir, &config.pending_dir] {
        trusted_dir::check(dir)?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::bind(&config.run_dir)?;
    let mut markers = MarkerWatch::begin(&config.pending_dir);
    let mut collector = Collector::start(config)?;
    if let Some(centre) = centre {
        collector.ship_to(centre)?;
    }
    let (sender, mut logins) = mpsc::channel(LOGINS);
    let server = tokio::spawn(server.run(LoginReader::host(), sender));
    let mut scrapes = serve_metrics(collector.config.metrics_listen.as_ref()).await;
    info!(sessions = collector.sessions(), "The collector is ready.");
    // Not run by systemd: nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    collector.finish_start();
    let watchdog = sd_notify::watchdog_enabled().map(|timeout| timeout / 2);

    let mut pace = Pace::new();
    let mut housekeeping = Instant::now();
    loop {
        // Housekeeping waits for the next look at the ring, so as not to wake the host for itself;
        // without a session there is nothing in the ring to look for.
        let next = if collector.sessions() > 0 {
            pace.next
        } else {
            housekeeping
        };
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            Some(login) = logins.recv() => {
                collector.stamp(login);
                pace.wake();
            }
            Some(scrape) = scrapes.recv() => {
                // Whoever asked may have hung up.
                let _ = scrape.send(collector.status());
            }
            () = markers.changed() => {
                housekeeping = Instant::now();
                pace.wake();
            }
            () = sleep_until(next) => {
                let mut busy = collector.drain();
                if Instant::now() >= housekeeping {
                    collector.housekeeping();
                    busy |= collector.drain();
                    if watchdog.is_some() {
                        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
                    }
                    let wait = if collector.sessions() > 0 { HOUSEKEEPING } else { NO_SESSION };
                    housekeeping = Instant::now() + wait.min(watchdog.unwrap_or(wait));
                }
                pace.drained(busy);
            }
        }
    }
    server.abort();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    collector.drain();
    collector.write_status();
    if collector.sessions() > 0 {
        warn!(
            sessions = collector.sessions(),
            "Stopped with sessions open: the probe goes on recording them into its ring."
        );
    }
    Ok(())
}

/// Serves metrics where they are wanted. Not serving them is no reason not to record.
async fn serve_metrics(listen: Option<&Listen>) -> mpsc::Receiver<Scrape> {
    let (sender, scrapes) = metrics::channel();
    let Some(listen) = listen else { return scrapes };
    match Listener::bind(listen).await {
        Ok(listener) => {
            info!(%listen, "Serving metrics.");
            tokio::spawn(listener.run(sender));
        }
        Err(error) => warn!(%listen, %error, "Metrics are not served."),
    }
    scrapes
}

/// When to look at the ring next.
struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    fn new() -> Self {
        Self {
            interval: BUSY,
            next: Instant::now(),
        }
    }

    fn wake(&mut self) {
        self.interval = BUSY;
        self.next = self.next.min(Instant::now() + BUSY);
    }

    /// Waits a quarter longer after each look that finds nothing: half a second after two seconds of
    /// quiet, the whole after six.
    fn drained(&mut self, busy: bool) {
        self.interval = if busy {
            BUSY
        } else {
            (self.interval.mul_f32(1.25)).min(IDLE)
        };
        self.next = Instant::now() + self.interval;
    }
}
