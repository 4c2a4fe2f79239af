//! `vctl-agent ingest`: stores in Postgres what hosts published to JetStream.
//!
//! ```text
//! JetStream ──pull──▶ messages by host ──place──▶ one call of stream_ingest_v1 ──▶ acknowledged
//! ```
//!
//! Several of them may run. They share one consumer, and the cursor of each spool decides what is stored
//! ([`place`]): each batch once and in order, also if JetStream delivers it twice or to another consumer.
//! A message is acknowledged after Postgres has committed it.
//!
//! The server delivers messages without their payloads, and the consumer reads the payload of a message that it tries to
//! store. So messages of a host that waits ([`pause`]) cost almost nothing.

mod batch;
mod expiry;
mod pause;
mod place;
mod problems;
mod raw_message;
mod refusal;
mod stream;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::pull;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream as futures};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use vctl_common::backoff::Backoff;
use vctl_common::causes::WithCauses;
use vctl_common::centre::DbRole;
use vctl_common::host::HostName;
use vctl_common::pg::{PgError, Pool, PoolLimits};
use vctl_common::vault::Vault;

use crate::centre::{Centre, HostLoginError};
use crate::config;
use crate::nats::{self, Nats, NatsError, STREAM, host_of};
use batch::{Counted, Work, WorkError, sequence};
use expiry::warn_before_the_end;
pub use stream::StreamLimits;

/// Number of hosts that are stored at the same time, each over its own connection.
const AT_ONCE: usize = 4;
/// Messages that are taken from the stream together.
const TOGETHER: usize = 64;
/// Time limit for one batch.
const STATEMENT: Duration = Duration::from_mins(1);
/// Time between two log lines with numbers.
const REPORT: Duration = Duration::from_mins(1);
/// Time between two questions for the end of the secret id.
const LOOK_AT_SECRET_ID: Duration = Duration::from_hours(6);
/// At its end, the consumer waits this long until its credentials are revoked.
const CLOSING: Duration = Duration::from_secs(3);

#[derive(Debug, thiserror::Error)]
enum IngestError {
    #[error(transparent)]
    Nats(#[from] NatsError),
    #[error(transparent)]
    Login(#[from] HostLoginError),
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error("the NATS server delivers no messages of the stream `{STREAM}`: {why}")]
    Messages { why: String },
}

/// The host of this machine may be enrolled too. Its enrolment is not the one of the consumer, and another would not help.
const CREDENTIAL: &str = "write the role id and the secret id of the AppRole `vctl-stream-ingest` to `role_id_file` and `secret_id_file`: \
     deploy/nats/README.md, step 5";

/// Next step for a server that delivers nothing.
const NO_DELIVERY_HINT: &str = "look at the server's log, and as its operator at `nats stream info VCTL_EVENTS`: deploy/nats/README.md";

impl IngestError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Login(error) if error.is_about_credential() => Some(CREDENTIAL.to_owned()),
            Self::Work(WorkError::Pg(PgError::Credential(error)))
                if error.is_about_credential() =>
            {
                Some(CREDENTIAL.to_owned())
            }
            Self::Nats(error) => error.hint(),
            Self::Login(error) => error.hint(),
            Self::Work(error) => error.hint(),
            Self::Messages { .. } => Some(NO_DELIVERY_HINT.to_owned()),
        }
    }

    fn text(&self) -> String {
        config::with_hint(self, self.hint())
    }
}

/// Stores batches until a signal stops it. Problems with the servers are logged, and tried again.
///
/// # Errors
/// The runtime cannot start.
pub fn run(nats: &Nats, centre: &Centre, limits: StreamLimits) -> anyhow::Result<()> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(consume_until_stopped(nats, centre, limits));
    // A query to a name server that does not answer runs on a thread that cannot be stopped.
    runtime.shutdown_background();
    done
}

async fn consume_until_stopped(
    nats: &Nats,
    centre: &Centre,
    limits: StreamLimits,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut login = None;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = consume_for_ever(nats, centre, limits, &mut login) => {}
    }
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    if let Some((vault, pool)) = login {
        let closing = async {
            pool.close().await;
            let _ = vault.revoke_self().await;
        };
        let _ = timeout(CLOSING, closing).await;
    }
    Ok(())
}

async fn consume_for_ever(
    nats: &Nats,
    centre: &Centre,
    limits: StreamLimits,
    login: &mut Option<(Vault, Pool)>,
) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    let mut logged = None;
    loop {
        let begun = Instant::now();
        let Err(error) = consume(nats, centre, limits, login).await;
        if begun.elapsed() > REPORT {
            backoff.reset();
            logged = None;
        }
        let (text, wait) = (error.text(), backoff.next_pause());
        if logged.as_ref() != Some(&text) {
            warn!(
                error = text,
                retry_in_s = wait.as_secs_f64(),
                "Batches are not stored; they stay in the stream."
            );
            logged = Some(text);
        }
        let status = "batches are not stored: the log has the reason";
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(status)]);
        sleep(wait).await;
    }
}

async fn consume(
    nats: &Nats,
    centre: &Centre,
    limits: StreamLimits,
    login: &mut Option<(Vault, Pool)>,
) -> Result<Infallible, IngestError> {
    let (vault, pool) = if let Some(login) = login {
        login.clone()
    } else {
        let vault = centre.vault().await?;
        let pool = pool(&vault, centre)?;
        login.insert((vault, pool)).clone()
    };
    // Before the first message is taken: without Postgres, messages are left to other consumers.
    drop(pool.get().await.map_err(WorkError::from)?);
    let client = nats::connect(nats).await?;
    let (context, consumer) = stream::open(&client, limits)
        .await
        .map_err(WorkError::from)?;
    let progress = consumer.cached_info().config.ack_wait / 3;
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(TOGETHER)
        .expires(Duration::from_secs(30))
        .heartbeat(Duration::from_secs(5))
        .messages()
        .await
        .map_err(|error| IngestError::Messages {
            why: WithCauses(&error).to_string(),
        })?;
    info!(
        servers = nats.servers.join(","),
        "Storing the batches of the stream."
    );
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let work = Work::new(pool, context);
    tokio::select! {
        Err(error) = store(&work, &mut messages, progress) => Err(error),
        never = report_for_ever(&work) => match never {},
        never = watch_secret_id(&vault, centre) => match never {},
    }
}

/// Stores messages until something fails.
async fn store(
    work: &Work,
    messages: &mut pull::Stream,
    progress: Duration,
) -> Result<Infallible, IngestError> {
    loop {
        let group = next_messages(messages).await?;
        let hosts = by_host(group).await?;
        work.hold(hosts.values().flatten());
        let stored = futures::iter(hosts)
            .map(Ok)
            .try_for_each_concurrent(AT_ONCE, |(host, messages)| async move {
                work.handle(&host, messages).await
            });
        tokio::select! {
            stored = stored => stored?,
            Err(error) = work.report_progress(progress) => return Err(error.into()),
        }
    }
}

/// Logs numbers, and keeps the state of the unit up to date, also while no message comes.
async fn report_for_ever(work: &Work) -> Infallible {
    loop {
        sleep(REPORT).await;
        report(work);
    }
}

async fn watch_secret_id(vault: &Vault, centre: &Centre) -> Infallible {
    loop {
        warn_before_the_end(vault, centre).await;
        sleep(LOOK_AT_SECRET_ID).await;
    }
}

fn pool(vault: &Vault, centre: &Centre) -> Result<Pool, IngestError> {
    let limits = PoolLimits {
        max_size: AT_ONCE,
        statement_timeout: Some(STATEMENT),
        ..PoolLimits::default()
    };
    let pool = Pool::new(
        vault.clone(),
        &centre.settings.db,
        DbRole::StreamIngest,
        limits,
    );
    Ok(pool.map_err(WorkError::from)?)
}

/// Waits for a message, and takes those that have arrived with it.
async fn next_messages(messages: &mut pull::Stream) -> Result<Vec<Message>, IngestError> {
    let failed = |why: &dyn std::error::Error| IngestError::Messages {
        why: WithCauses(why).to_string(),
    };
    let mut group = Vec::new();
    let mut next = messages.next().await;
    loop {
        match next {
            Some(Ok(message)) => group.push(message),
            Some(Err(error)) => return Err(failed(&error)),
            None => {
                return Err(IngestError::Messages {
                    why: "the subscription has ended".to_owned(),
                });
            }
        }
        if group.len() == TOGETHER {
            return Ok(group);
        }
        match messages.next().now_or_never() {
            Some(more) => next = more,
            None => return Ok(group),
        }
    }
}

/// Sorts messages by host, each host's in the order of the stream.
async fn by_host(group: Vec<Message>) -> Result<BTreeMap<HostName, Vec<Message>>, IngestError> {
    let mut hosts: BTreeMap<HostName, Vec<Message>> = BTreeMap::new();
    for message in group {
        if let Some(host) = host_of(&message.subject).and_then(|host| host.parse().ok()) {
            hosts.entry(host).or_default().push(message);
        } else {
            warn!(subject = %message.subject, "A message has no host in its subject, and is removed.");
            let removed = message.ack_with(async_nats::jetstream::AckKind::Term).await;
            removed.map_err(WorkError::Ack)?;
        }
    }
    for messages in hosts.values_mut() {
        messages.sort_by_key(sequence);
    }
    Ok(hosts)
}

fn report(work: &Work) {
    let Counted {
        batches,
        events,
        again,
        lost,
    } = work.take_counted();
    let waiting = work.waiting();
    if batches > 0 || again > 0 {
        info!(
            batches,
            events,
            again,
            lost,
            waiting_hosts = waiting.len(),
            "Stored since the last report."
        );
    }
    let text = state(batches, events, &waiting);
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Status(&text)]);
}

/// Returns the line that `systemctl status` shows.
fn state(batches: u64, events: u64, waiting: &[HostName]) -> String {
    let stored = format!("stored {batches} batches with {events} events in the last minute");
    match waiting {
        [] => stored,
        [host] => format!("{stored}; a batch of {host} is not stored"),
        [host, rest @ ..] => format!(
            "{stored}; batches of {host} and {} other hosts are not stored",
            rest.len()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use vctl_common::vault::VaultError;

    use super::*;

    #[test]
    fn the_status_line_names_a_host_that_waits() {
        let hosts: Vec<HostName> = ["db-1", "web-1"].map(|name| name.parse().unwrap()).into();
        let stored = "stored 2 batches with 30 events in the last minute";
        for (waiting, end) in [
            (0, ""),
            (1, "; a batch of db-1 is not stored"),
            (2, "; batches of db-1 and 1 other hosts are not stored"),
        ] {
            assert_eq!(state(2, 30, &hosts[..waiting]), format!("{stored}{end}"));
        }
    }

    #[test]
    fn a_consumer_is_not_told_to_enrol_a_host() {
        let refused = || VaultError::LoginRefused {
            mount: "approle".to_owned(),
            message: "invalid secret id".to_owned(),
        };
        let no_file = || HostLoginError::RoleId {
            path: "/etc/vctl/ingest/role_id".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        for error in [
            IngestError::Login(no_file()),
            IngestError::Login(HostLoginError::Vault(refused())),
            IngestError::Work(WorkError::Pg(PgError::Credential(refused()))),
        ] {
            let text = error.text();
            assert!(!text.contains("enroll"), "{text}");
            assert!(text.contains("`vctl-stream-ingest`"), "{text}");
        }
    }
}
