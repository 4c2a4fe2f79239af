//! The stream and its consumer on the NATS server: created when they are missing, and checked otherwise.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, Context};
use vctl_common::causes::WithCauses;

use crate::nats::{CONSUMER, LEAST_PAYLOAD, REQUEST, STREAM, SUBJECT};

/// Limits of a stream that is created. An existing one keeps its own.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Copies in a cluster: 1, 3 or 5.
    pub replicas: usize,
    pub max_bytes: u64,
}

/// Messages of one host that wait in the stream. Beyond it, this host's spool keeps its records.
const PER_HOST: i64 = 10_000;
/// After this time without an answer, a message is given to another consumer.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Messages that consumers have, or that wait for an earlier one of their host.
const IN_WORK: i64 = 100_000;

/// The stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("the stream `{STREAM}` cannot be created or read: {why}")]
    Request { why: String },
    #[error("the stream `{STREAM}` {what}, so batches could be lost or stored for another host")]
    Unsafe { what: String },
    #[error("the server accepts messages of {most} bytes, and a batch may have {LEAST_PAYLOAD}")]
    SmallPayload { most: usize },
}

impl StreamError {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Request { .. } => {
                "check the account of this key: deploy/nats/README.md".to_owned()
            }
            Self::Unsafe { .. } => {
                "change it, or delete it when it is empty: it is then created again".to_owned()
            }
            Self::SmallPayload { .. } => {
                format!("set `max_payload` of the server to at least {LEAST_PAYLOAD}")
            }
        }
    }
}

/// Returns the stream and its consumer.
pub(super) async fn open(
    client: &async_nats::Client,
    limits: StreamLimits,
) -> Result<(Stream, PullConsumer), StreamError> {
    let most = client.max_payload();
    if most < LEAST_PAYLOAD {
        return Err(StreamError::SmallPayload { most });
    }
    let mut context = jetstream::new(client.clone());
    context.set_timeout(REQUEST);
    let stream = stream(&context, limits).await?;
    check(&stream.cached_info().config)?;
    let consumer = stream
        .get_or_create_consumer(CONSUMER, wanted_consumer())
        .await
        .map_err(|error| StreamError::Request {
            why: WithCauses(&error).to_string(),
        })?;
    Ok((stream, consumer))
}

async fn stream(context: &Context, limits: StreamLimits) -> Result<Stream, StreamError> {
    let wanted = Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{SUBJECT}.>")],
        // A stored batch leaves the stream.
        retention: RetentionPolicy::WorkQueue,
        // A full stream refuses: the spool of the host keeps the records.
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        max_messages_per_subject: PER_HOST,
        max_messages: -1,
        max_bytes: i64::try_from(limits.max_bytes).unwrap_or(i64::MAX),
        storage: StorageType::File,
        num_replicas: limits.replicas,
        ..Config::default()
    };
    context
        .get_or_create_stream(wanted)
        .await
        .map_err(|error| StreamError::Request {
            why: WithCauses(&error).to_string(),
        })
}

/// Refuses a stream that drops messages, or lets a publisher remove those of others.
fn check(config: &Config) -> Result<(), StreamError> {
    let subjects = [format!("{SUBJECT}.>")];
    let rules = [
        (config.subjects == subjects, "has other subjects"),
        (
            config.retention == RetentionPolicy::WorkQueue,
            "has no work queue retention",
        ),
        (
            config.discard == DiscardPolicy::New,
            "discards old messages when it is full",
        ),
        (config.max_age.is_zero(), "discards messages by age"),
        (!config.allow_rollup, "accepts rollup headers"),
        (!config.no_ack, "does not acknowledge messages"),
        (
            config.subject_transform.is_none() && config.sources.is_none(),
            "changes subjects, or takes messages of other streams",
        ),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(StreamError::Unsafe {
            what: what.to_owned(),
        }),
        None => Ok(()),
    }
}

fn wanted_consumer() -> pull::Config {
    pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: IN_WORK,
        ..pull::Config::default()
    }
}

/// Returns whether the stream has an earlier message of this subject. A stored message leaves the stream only after
/// Postgres has committed it.
pub(super) async fn has_earlier(
    stream: &Stream,
    subject: &str,
    sequence: u64,
) -> Result<bool, StreamError> {
    match stream.get_first_raw_message_by_subject(subject, 1).await {
        Ok(first) => Ok(first.sequence < sequence),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(false),
        Err(error) => Err(StreamError::Request {
            why: WithCauses(&error).to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_may_drop_batches_is_refused() {
        let good = Config {
            subjects: vec!["vctl.events.>".to_owned()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            ..Config::default()
        };
        check(&good).unwrap();
        for bad in [
            Config {
                subjects: vec![">".to_owned()],
                ..good.clone()
            },
            Config {
                retention: RetentionPolicy::Limits,
                ..good.clone()
            },
            Config {
                discard: DiscardPolicy::Old,
                ..good.clone()
            },
            Config {
                max_age: Duration::from_secs(1),
                ..good.clone()
            },
            Config {
                allow_rollup: true,
                ..good.clone()
            },
            Config {
                no_ack: true,
                ..good
            },
        ] {
            let error = check(&bad).unwrap_err();
            assert!(matches!(error, StreamError::Unsafe { .. }), "{error}");
        }
    }
}
