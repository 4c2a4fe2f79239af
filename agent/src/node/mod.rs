//! `vctl-agent node`: reports this host's status every few minutes.
//!
//! [`facts`] and [`collector`] read the status, [`connection`] sends it, and the loop ([`heart`]) depends
//! on neither: an attempt may fail in any way, and the next one starts from the beginning.

mod address;
mod collector;
mod facts;
mod heart;
mod connection;
mod schedule;
mod parse;
mod report;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::warn;
use vctl_common::causes::WithCauses;
use vctl_common::host::HostName;
use vctl_common::time::wall_now;

use crate::centre::Centre;
use crate::config::Config;
use connection::Connection;
use heart::Outcome;

/// Wait for Vault to revoke a token that is no longer used.
const FAREWELL: Duration = Duration::from_millis(500);

/// Options of `vctl-agent node`, besides the configuration.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub interval: Duration,
    /// Report once, then exit.
    pub once: bool,
    /// The host's name in the inventory; `None` means `host` of the configuration.
    pub hostname: Option<String>,
}

/// Reports until it is stopped, or once.
///
/// # Errors
/// Problems that do not end by waiting: an invalid host name, a centre that is not configured. With
/// `once`, also a report that failed.
pub fn run(config: &Config, options: &NodeOptions) -> anyhow::Result<ExitCode> {
    let name = options.hostname.as_deref().unwrap_or(&config.host);
    let hostname: HostName = name
        .parse()
        .context("the name of this host is not valid in the inventory; set it with `--hostname`")?;
    let centre = config.centre.centre(hostname.as_str())?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(report(config, &centre, options));
    // A query to a name server that does not answer runs on a thread that cannot be stopped.
    runtime.shutdown_background();
    done
}

async fn report(
    config: &Config,
    centre: &Centre,
    options: &NodeOptions,
) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut connection = None;
    let mut attempt = async || {
        let kept = connection.take();
        let (outcome, used) = attempt(config, centre, kept).await?;
        connection = Some(used);
        anyhow::Ok(outcome)
    };
    let work = async {
        if options.once {
            return Some(heart::once(&mut attempt).await);
        }
        // Without systemd this does nothing. Ready before the first report, since the centre may be
        // unavailable while the host starts.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let watchdog = sd_notify::watchdog_enabled();
        heart::beat(
            centre.host.as_str(),
            options.interval,
            watchdog,
            &mut attempt,
        )
        .await;
        None
    };
    let done = tokio::select! {
        done = work => done,
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    if let Some(connection) = connection {
        let _ = timeout(FAREWELL, connection.farewell()).await;
    }
    match done {
        Some(Err(error)) => bail!("no report was stored: {error}"),
        Some(Ok(Outcome::NotInInventory(hint))) => {
            warn!(host = %centre.host, hint, "Not in the inventory: nothing was stored.");
        }
        Some(Ok(Outcome::Stored)) | None => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends one complete report. The connection is returned only if every step succeeded.
async fn attempt(
    config: &Config,
    centre: &Centre,
    kept: Option<Connection>,
) -> anyhow::Result<(Outcome, Connection)> {
    let connection = if let Some(connection) = kept {
        connection
    } else {
        Connection::open(centre).await?
    };
    let facts = facts::collect(Path::new("/"));
    let collector = collector::look(config, wall_now()).await;
    match connection.send(&report::report(&facts, &collector)).await {
        Ok(outcome) => Ok((outcome, connection)),
        Err(error) => {
            // If only Postgres is unavailable, each attempt would leave a token behind.
            let _ = timeout(FAREWELL, connection.farewell()).await;
            Err(anyhow!("{}", WithCauses(&error)))
        }
    }
}
