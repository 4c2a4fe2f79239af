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

use anyhow::{Context, bail};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::warn;
use vctl_common::host::HostName;
use vctl_common::time::wall_now;

use crate::centre::Centre;
use crate::config::Config;
use connection::Connection;
use heart::{Centre as _, Outcome};

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
    let mut reports = Reports {
        config,
        centre,
        connection: None,
    };
    let work = async {
        if options.once {
            return Some(heart::once(&mut reports).await);
        }
        // Without systemd this does nothing. Ready before the first report, since the centre may be
        // unavailable while the host starts.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        let watchdog = sd_notify::watchdog_enabled();
        heart::beat(
            centre.host.as_str(),
            options.interval,
            watchdog,
            &mut reports,
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
    reports.log_out().await;
    match done {
        Some(Err(error)) => bail!("no report was stored: {error}"),
        Some(Ok(Outcome::NotInInventory(hint))) => {
            warn!(host = %centre.host, hint, "Not in the inventory: nothing was stored.");
        }
        Some(Ok(Outcome::Stored)) | None => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The reports of this host, over a login that stays between them.
struct Reports<'a> {
    config: &'a Config,
    centre: &'a Centre,
    /// Here and not in the future of a report, which is dropped when its time is over: each would leave a token behind.
    connection: Option<Connection>,
}

impl heart::Centre for Reports<'_> {
    type Error = anyhow::Error;

    async fn report(&mut self) -> anyhow::Result<Outcome> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.centre).await?),
        };
        let facts = facts::collect(Path::new("/"));
        let collector = collector::look(self.config, wall_now()).await;
        let report = report::report(&facts, &collector);
        connection.send(self.centre, &report).await
    }

    async fn log_out(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = timeout(FAREWELL, connection.farewell()).await;
        }
    }
}
