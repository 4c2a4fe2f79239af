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
//!
//! A session can fill the ring all the time. So each turn of the loop ends after a time, also with work left, and signals,
//! logins and requests have their turn in between.

mod pace;
mod collector;
mod ring_drain;
mod loss_watch;
mod skip_watch;
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
use crate::end_request::EndRequest;
use crate::metrics::{self, Listen, Listener, Scrape};
use crate::proc::reader::ProcReader;
use crate::session::server::{PendingStamp, Server};
use crate::store::Route;
use crate::trusted_dir;

use collector::Collector;
use late_login_watch::LateLoginWatch;
use pace::{Chores, Pace, overdue};
use ring_drain::Drained;

/// Interval of the work that no event starts, such as late logins and sessions with a lost end.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// The same without a session, when only late logins may come.
const NO_SESSION: Duration = Duration::from_secs(30);
/// Logins that may wait for the loop.
const LOGINS: usize = 64;

/// The work of one turn of the loop.
enum Turn {
    Look,
    Stamp(PendingStamp),
    End(EndRequest),
    Scrape(Scrape),
    LateLogin,
}

/// Runs the collector until a signal stops it. The probe stays in the kernel. With a `route`, the collector also
/// ships the records.
///
/// # Errors
/// The collector cannot start: another agent runs, the kernel does not fit the probe, or the spool cannot be
/// written.
pub fn collect(config: Config, route: Option<Route>) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(run(config, route));
    // Without waiting for threads on which a name service hangs.
    runtime.shutdown_background();
    result
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
    let server = tokio::spawn(server.run(ProcReader::host(), sender));
    let mut scrapes = serve_metrics(config.metrics_listen.as_ref()).await;
    info!(sessions = collector.sessions(), "The collector is ready.");
    // Fails when systemd did not start the agent.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    collector.finish_start();
    let watchdog = sd_notify::watchdog_enabled().map(|timeout| timeout / 2);

    let mut pace = Pace::new();
    let mut chores = Chores::new(Instant::now());
    loop {
        // Housekeeping waits for the next look at the ring, to wake the host less often. Without a session the
        // ring is empty, so only housekeeping is due.
        let next = if collector.sessions() > 0 {
            pace.next
        } else {
            chores.next()
        };
        let turn = tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // A user can also log in all the time.
            () = sleep_until(overdue(next)) => Turn::Look,
            Some(login) = logins.recv() => Turn::Stamp(login),
            Some(request) = end_requests.recv() => Turn::End(request),
            Some(scrape) = scrapes.recv() => Turn::Scrape(scrape),
            () = late_logins.changed() => Turn::LateLogin,
            () = sleep_until(next) => Turn::Look,
        };
        match turn {
            Turn::Stamp(login) => {
                collector.stamp(login);
                chores.by(Instant::now() + HOUSEKEEPING);
                pace.wake();
            }
            Turn::End(request) => {
                collector.end_session(request);
                pace.wake();
            }
            Turn::Scrape(scrape) => {
                // The client may have disconnected.
                let _ = scrape.send(collector.status());
            }
            Turn::LateLogin => {
                chores.by(Instant::now());
                pace.wake();
            }
            Turn::Look => {
                let drained = look(&mut collector, &mut chores, watchdog);
                pace.drained(drained.is_busy, drained.is_cut_short);
            }
        }
    }
    server.abort();
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    collector.finish();
    if collector.sessions() > 0 {
        warn!(
            sessions = collector.sessions(),
            "Stopped with sessions open: the probe continues to record them into its ring."
        );
    }
    Ok(())
}

/// Drains the ring, and does the housekeeping when it is due. `watchdog` is the longest interval between two signs of
/// life to systemd.
fn look(collector: &mut Collector, chores: &mut Chores, watchdog: Option<Duration>) -> Drained {
    let drained = collector.drain();
    if Instant::now() < chores.next() {
        return drained;
    }
    let begun = Instant::now();
    let is_all_done = collector.housekeeping();
    if watchdog.is_some() {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
    }
    let wait = if collector.sessions() > 0 {
        HOUSEKEEPING
    } else {
        NO_SESSION
    };
    let wait = wait.min(watchdog.unwrap_or(wait));
    let wait = if is_all_done { wait } else { Duration::ZERO };
    let now = Instant::now();
    chores.done(begun, now, now + wait);
    let after = collector.drain();
    Drained {
        is_busy: drained.is_busy || after.is_busy,
        ..after
    }
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
