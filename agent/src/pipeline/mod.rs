//! READ FIRST: the collector's one loop.
//!
//! ```text
//! ring ──drain──▶ decode ▶ attribute ▶ redact ▶ spool batch ──commit──▶ ring given back
//! hook ──stamp──▶ journal entry, durable ▶ kernel mark ▶ answer to the hook
//! ```
//!
//! One thread, no queues: a record stays in the ring until it is in the spool, so a `kill -9` at any line loses
//! nothing. The ring is read on a timer, because waking the agent costs the kernel twenty times as much as a record:
//! often while a session is busy, less and less often when it is quiet.

mod collector;
mod ring_drain;
mod sessions;
mod spool_out;
mod outbox;
mod housekeeping;
mod shipping;
mod status;
mod late_login_watch;

use std::time::Duration;

use anyhow::Context;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use vctl_common::causes::WithCauses;

use crate::config::Config;
use crate::metrics::{self, Listen, Listener, Scrape};
use crate::session::login::LoginReader;
use crate::session::server::Server;
use crate::store::Route;
use crate::trusted_dir;

use collector::Collector;
use late_login_watch::LateLoginWatch;

/// Interval between two looks at the ring while a session is busy.
const BUSY: Duration = Duration::from_millis(25);
/// The same after some quiet seconds: tokio wakes twice for a sleep of this length.
const IDLE: Duration = Duration::from_millis(1500);
/// Interval of the work that no event starts, such as late logins and sessions with a lost end.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// The same without a session, when only late logins may come.
const NO_SESSION: Duration = Duration::from_secs(30);
/// Logins that may wait for the loop.
const LOGINS: usize = 64;

/// Runs the collector until a signal stops it. The probe stays in the kernel. With a `route`, the collector also
/// ships the records.
///
/// # Errors
/// The collector cannot start: another agent runs, the kernel does not fit the probe, or the spool cannot be
/// written.
pub fn collect(config: Config, route: Option<Route>) -> anyhow::Result<()> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(run(config, route))
}

async fn run(config: Config, route: Option<Route>) -> anyhow::Result<()> {
    for dir in [&config.run_dir, &config.spool_dir, &config.pending_dir] {
        trusted_dir::check(dir)?;
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let server = Server::bind(&config.run_dir)?;
    let mut late_logins = LateLoginWatch::begin(&config.pending_dir);
    let mut collector = Collector::start(&config)?;
    let mut end_requests = match route {
        Some(route) => collector.ship_by(route)?,
        // Closed: no request ever comes.
        None => mpsc::channel(1).1,
    };
    let (sender, mut logins) = mpsc::channel(LOGINS);
    let server = tokio::spawn(server.run(LoginReader::host(), sender));
    let mut scrapes = serve_metrics(config.metrics_listen.as_ref()).await;
    info!(sessions = collector.sessions(), "The collector is ready.");
    // Fails when systemd did not start the agent.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    collector.finish_start();
    let watchdog = sd_notify::watchdog_enabled().map(|timeout| timeout / 2);

    let mut pace = Pace::new();
    let mut housekeeping = Instant::now();
    loop {
        // Housekeeping waits for the next look at the ring, to wake the host less often. Without a session the
        // ring is empty, so only housekeeping is due.
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
                housekeeping = housekeeping.min(Instant::now() + HOUSEKEEPING);
                pace.wake();
            }
            Some(request) = end_requests.recv() => {
                collector.end_session(request);
                pace.wake();
            }
            Some(scrape) = scrapes.recv() => {
                // The client may have disconnected.
                let _ = scrape.send(collector.status());
            }
            () = late_logins.changed() => {
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
            "Stopped with sessions open: the probe continues to record them into its ring."
        );
    }
    Ok(())
}

/// Serves metrics if `metrics_listen` is set. A failure does not stop the recording.
async fn serve_metrics(listen: Option<&Listen>) -> mpsc::Receiver<Scrape> {
    let (sender, scrapes) = metrics::channel();
    let Some(listen) = listen else { return scrapes };
    match Listener::bind(listen).await {
        Ok(listener) => {
            info!(%listen, "Serving metrics.");
            tokio::spawn(listener.run(sender));
        }
        Err(error) => warn!(%listen, error = %WithCauses(&error), "Metrics are not served."),
    }
    scrapes
}

/// The time of the next look at the ring.
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

    /// Waits a quarter longer after each look that finds nothing: half a second after two quiet seconds, the full
    /// interval after six.
    fn drained(&mut self, busy: bool) {
        self.interval = if busy {
            BUSY
        } else {
            (self.interval.mul_f32(1.25)).min(IDLE)
        };
        self.next = Instant::now() + self.interval;
    }
}
