//! The stream and its consumer on the NATS server: created when they are missing, and checked otherwise.

use std::time::Duration;

use async_nats::jetstream::consumer::{
    self, AckPolicy, DeliverPolicy, PullConsumer, ReplayPolicy, pull,
};
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType, Stream,
};
use async_nats::jetstream::{self, Context};
use tracing::warn;
use vctl_common::causes::WithCauses;

use crate::nats::{CONSUMER, LARGEST_MESSAGE, LEAST_PAYLOAD, REQUEST, STREAM, SUBJECT};

/// Limits of a stream that is created. An existing one keeps its own.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// Copies in a cluster: 1, 3 or 5.
    pub replicas: usize,
    pub max_bytes: u64,
}

/// Part of the stream that the messages of one host may fill. Beyond it, this host's spool keeps its records.
const PART: u64 = 16;
/// Messages of one host in a stream of any size.
const LEAST_PER_HOST: u64 = 16;
/// After this time without an answer, a message is given to another consumer. An existing consumer keeps its own.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Least of that time in an existing consumer.
const LEAST_ACK_WAIT: Duration = Duration::from_secs(1);

/// The stream cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error("the stream `{STREAM}` cannot be created or read: {why}")]
    Request { why: String },
    #[error("the stream `{STREAM}` {what}, so batches could be lost or stored for another host")]
    Unsafe { what: String },
    #[error("the consumer `{CONSUMER}` {what}, so batches could be lost")]
    UnsafeConsumer { what: String },
    #[error("the server accepts messages of {most} bytes, and a batch may have {LEAST_PAYLOAD}")]
    SmallPayload { most: usize },
}

impl StreamError {
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Request { .. } => {
                "check that JetStream of the server runs, and the account of this key: deploy/nats/README.md".to_owned()
            }
            Self::Unsafe { .. } => format!(
                "as the operator of deploy/nats/README.md: `nats stream edit {STREAM}`; or when it is empty \
                 `nats stream rm {STREAM}`, and it is created again"
            ),
            Self::UnsafeConsumer { .. } => format!(
                "as the operator of deploy/nats/README.md: `nats consumer rm {STREAM} {CONSUMER}`; it is then created again"
            ),
            Self::SmallPayload { .. } => {
                format!("set `max_payload` of the server to at least {LEAST_PAYLOAD}")
            }
        }
    }
}

/// Returns the consumer of the stream, and what reads messages of the stream.
pub(super) async fn open(
    client: &async_nats::Client,
    limits: StreamLimits,
) -> Result<(Context, PullConsumer), StreamError> {
    let most = client.max_payload();
    if most < LEAST_PAYLOAD {
        return Err(StreamError::SmallPayload { most });
    }
    let mut context = jetstream::new(client.clone());
    context.set_timeout(REQUEST);
    let stream = stream(&context, limits).await?;
    let config = &stream.cached_info().config;
    check(config)?;
    if !limits_hosts(config) {
        warn!(
            max_bytes = config.max_bytes,
            max_msgs_per_subject = config.max_messages_per_subject,
            max_msg_size = config.max_message_size,
            next = "set the limits of deploy/nats/README.md",
            "One host can fill the stream."
        );
    }
    let consumer = consumer(&stream).await?;
    Ok((context, consumer))
}

/// Returns the consumer, with the settings that this version needs.
async fn consumer(stream: &Stream) -> Result<PullConsumer, StreamError> {
    let consumer = stream
        .get_or_create_consumer(CONSUMER, wanted_consumer(ACK_WAIT))
        .await
        .map_err(|error| failed(&error))?;
    let config = &consumer.cached_info().config;
    check_consumer(config)?;
    let wanted = wanted_consumer(config.ack_wait);
    if config.headers_only
        && config.max_ack_pending == wanted.max_ack_pending
        && config.max_deliver == wanted.max_deliver
    {
        return Ok(consumer);
    }
    let updated = stream.update_consumer(wanted).await;
    updated.map_err(|error| failed(&error))
}

fn failed(error: &(impl std::error::Error + 'static)) -> StreamError {
    StreamError::Request {
        why: WithCauses(error).to_string(),
    }
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
        max_messages_per_subject: per_host(limits.max_bytes),
        max_message_size: i32::try_from(LARGEST_MESSAGE).unwrap_or(i32::MAX),
        max_messages: -1,
        max_bytes: i64::try_from(limits.max_bytes).unwrap_or(i64::MAX),
        storage: StorageType::File,
        num_replicas: limits.replicas,
        ..Config::default()
    };
    context
        .get_or_create_stream(wanted)
        .await
        .map_err(|error| failed(&error))
}

/// Returns the number of messages that one host may have in a stream of this size.
fn per_host(max_bytes: u64) -> i64 {
    let most = max_bytes / PART / LARGEST_MESSAGE as u64;
    i64::try_from(most.max(LEAST_PER_HOST)).unwrap_or(i64::MAX)
}

/// Returns whether the messages of one host leave room for those of others.
fn limits_hosts(config: &Config) -> bool {
    let most = config
        .max_messages_per_subject
        .checked_mul(i64::from(config.max_message_size));
    let is_set = config.max_messages_per_subject > 0 && config.max_message_size > 0;
    config.max_bytes <= 0 || is_set && most.is_some_and(|most| most <= config.max_bytes / 2)
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
        (
            config.max_messages_per_subject <= 0 || config.discard_new_per_subject,
            "discards old messages of a host that has too many",
        ),
        (
            config.storage == StorageType::File,
            "keeps messages in memory only",
        ),
        (
            config.persist_mode != Some(PersistenceMode::Async),
            "acknowledges messages before they are on the disk",
        ),
        (config.mirror.is_none(), "is a mirror"),
        (
            config.republish.is_none(),
            "sends copies of messages to other subjects",
        ),
        (config.max_age.is_zero(), "discards messages by age"),
        (!config.allow_rollup, "accepts rollup headers"),
        // The headers are a publisher's. A schedule names the subject of another message.
        (
            !config.allow_message_schedules,
            "lets a message be published to other subjects later",
        ),
        (
            !config.allow_message_ttl && config.subject_delete_marker_ttl.is_none(),
            "lets a message have an age limit of its own",
        ),
        (!config.allow_message_counter, "counts instead of storing"),
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

fn wanted_consumer(ack_wait: Duration) -> pull::Config {
    pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait,
        max_deliver: -1,
        // Messages of a host that waits are pending, and must not stop the delivery of others.
        max_ack_pending: -1,
        headers_only: true,
        ..pull::Config::default()
    }
}

/// Refuses a consumer that leaves messages out.
fn check_consumer(config: &consumer::Config) -> Result<(), StreamError> {
    let rules = [
        (
            config.ack_policy == AckPolicy::Explicit,
            "does not wait for each answer",
        ),
        (
            config.deliver_policy == DeliverPolicy::All,
            "begins after the first message",
        ),
        (
            config.filter_subject.is_empty() && config.filter_subjects.is_empty(),
            "takes messages of some hosts only",
        ),
        (
            config.replay_policy == ReplayPolicy::Instant,
            "delivers messages at the pace of their publication",
        ),
        (config.rate_limit == 0, "has a rate limit"),
        (
            config.ack_wait >= LEAST_ACK_WAIT,
            "delivers messages again before they can be stored",
        ),
        (
            config.inactive_threshold.is_zero(),
            "is deleted when no program reads it",
        ),
        (config.deliver_subject.is_none(), "is not a pull consumer"),
        (config.backoff.is_empty(), "has a backoff of its own"),
    ];
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(StreamError::UnsafeConsumer {
            what: what.to_owned(),
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use async_nats::jetstream::stream::{Republish, Source};

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
                max_messages_per_subject: 10,
                ..good.clone()
            },
            Config {
                no_ack: true,
                ..good.clone()
            },
            Config {
                allow_message_schedules: true,
                ..good.clone()
            },
            Config {
                allow_message_counter: true,
                ..good.clone()
            },
            Config {
                subject_delete_marker_ttl: Some(Duration::from_secs(1)),
                ..good.clone()
            },
            Config {
                mirror: Some(Source::default()),
                ..good.clone()
            },
            Config {
                allow_message_ttl: true,
                ..good.clone()
            },
            Config {
                storage: StorageType::Memory,
                ..good.clone()
            },
            Config {
                persist_mode: Some(PersistenceMode::Async),
                ..good.clone()
            },
            Config {
                republish: Some(Republish {
                    source: ">".to_owned(),
                    destination: "copy.>".to_owned(),
                    headers_only: false,
                }),
                ..good
            },
        ] {
            let error = check(&bad).unwrap_err();
            assert!(matches!(error, StreamError::Unsafe { .. }), "{error}");
        }
    }

    #[test]
    fn a_consumer_that_leaves_messages_out_is_refused() {
        let good = consumer::Config {
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            ..consumer::Config::default()
        };
        check_consumer(&good).unwrap();
        for bad in [
            consumer::Config {
                filter_subject: "vctl.events.web-1".to_owned(),
                ..good.clone()
            },
            consumer::Config {
                deliver_policy: DeliverPolicy::New,
                ..good.clone()
            },
            consumer::Config {
                ack_policy: AckPolicy::All,
                ..good.clone()
            },
            consumer::Config {
                replay_policy: ReplayPolicy::Original,
                ..good.clone()
            },
            consumer::Config {
                rate_limit: 1000,
                ..good.clone()
            },
            consumer::Config {
                ack_wait: Duration::from_millis(5),
                ..good.clone()
            },
            consumer::Config {
                inactive_threshold: Duration::from_mins(5),
                ..good
            },
        ] {
            assert!(check_consumer(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_host_may_fill_a_sixteenth_of_the_stream() {
        assert_eq!(per_host(10 << 30), 320);
        assert_eq!(per_host(50 << 30), 1600);
        assert_eq!(per_host(1 << 20), 16);
        let limits = |messages, size| {
            limits_hosts(&Config {
                max_bytes: 10 << 30,
                max_messages_per_subject: messages,
                max_message_size: size,
                ..Config::default()
            })
        };
        assert!(limits(320, 2 << 20));
        for (messages, size) in [(10_000, 2 << 20), (-1, 2 << 20), (320, -1)] {
            assert!(!limits(messages, size), "{messages} of {size} bytes");
        }
    }
}
