//! `vctl-agent node`: what a host says of itself, every few minutes.
//!
//! Looking ([`facts`], [`collector`]) is apart from telling ([`connection`]), and the loop ([`heart`])
//! knows neither: an attempt may fail in any way, and the next one begins from nothing.

mod address;
mod collector;
mod facts;
mod heart;
mod connection;
mod schedule;
mod parse;
mod report;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::warn;
use vctl_common::host::HostName;
use vctl_common::time::wall_now;

use crate::config::Config;
use crate::store::Centre;
use connection::Connection;
use heart::Outcome;

/// Vault hears that a token is no longer used, if it listens.
const FAREWELL: Duration = Duration::from_millis(500);

/// What `vctl-agent node` was asked to do, beside the configuration.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub interval: Duration,
    /// Report now, and end.
    pub once: bool,
    /// The host's name in the inventory; without one, `host` of the configuration.
    pub hostname: Option<String>,
}

/// Reports until it is told to stop, or once.
///
/// # Errors
/// What no waiting cures: a name that no host has, a centre that is not configured. With `once` also
/// a report that did not get through.
pub fn run(config: &Config, options: &NodeOptions) -> anyhow::Result<ExitCode> {
    let name = options.hostname.as_deref().unwrap_or(&config.host);
    let hostname: HostName = name
        .parse()
        .context("this host has no name that an inventory can have; give it with `--hostname`")?;
    let centre = config.centre.centre(hostname.as_str())?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(report(config, &centre, options));
    // A name server that does not answer is asked on a thread that nobody can stop.
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
        // Not run by systemd: nobody to tell. Ready before the first report, since the centre may be
        // away while the host starts.
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
        Some(Ok(Outcome::NotInInventory)) => {
            warn!(host = %centre.host, "Not in the inventory: nothing was stored. `vctl add` puts it there.");
        }
        Some(Ok(Outcome::Stored)) | None => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// One whole report: look, log in, tell. The connection goes on only when all of it went well.
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
            // Where only Postgres is away, each attempt would leave a token behind.
            let _ = timeout(FAREWELL, connection.farewell()).await;
            Err(in_one_line(error))
        }
    }
}

/// An outage is told in one line, its causes included.
fn in_one_line(error: impl Error) -> anyhow::Error {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    anyhow::Error::msg(line)
}
