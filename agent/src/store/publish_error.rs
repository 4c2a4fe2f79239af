//! Reasons why JetStream did not accept a batch.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::{PublishError as Failed, PublishErrorKind};
use vctl_common::causes::WithCauses;
use vctl_common::spool::SpoolReadError;

use super::start::StartError;
use crate::config;
use crate::nats::{LARGEST_MESSAGE, LEAST_PAYLOAD, NatsError, SUBJECT};

/// Nothing was published. All of it is in the spool.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishError {
    #[error(transparent)]
    Nats(#[from] NatsError),
    #[error("no stream of NATS answers for this host's subject `{SUBJECT}`")]
    NoStream,
    #[error("the stream is full: {why}")]
    Full { why: String },
    #[error("the stream has as many batches of this host as it may: {why}")]
    FullForHost { why: String },
    #[error("JetStream refuses the batch: {why}")]
    Refused { why: String },
    #[error("JetStream did not answer within {} s", after.as_secs())]
    Silent { after: Duration },
    #[error("a batch has {len} bytes, and the server accepts {most}")]
    TooLarge { len: usize, most: usize },
    #[error("a batch is too large for the stream: {why}")]
    TooLargeForStream { why: String },
    #[error("cannot read the spool")]
    Spool(#[from] SpoolReadError),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// The limits of the stream are reached, or those of the server and its disk.
const NO_ROOM: [jetstream::ErrorCode; 3] = [
    jetstream::ErrorCode::STREAM_STORE_FAILED,
    jetstream::ErrorCode::INSUFFICIENT_RESOURCES,
    jetstream::ErrorCode::STORAGE_RESOURCES_EXCEEDED,
];

impl PublishError {
    /// Returns the reason for the failure of a request; `said` is the server's last error on the connection.
    pub(super) fn of(error: &Failed, said: Option<String>, after: Duration) -> Self {
        if let Some(why) = said {
            return Self::Refused { why };
        }
        let api = std::error::Error::source(error)
            .and_then(|source| source.downcast_ref::<jetstream::Error>());
        match (error.kind(), api) {
            (PublishErrorKind::StreamNotFound, _) => Self::NoStream,
            (PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe, _) => {
                Self::Silent { after }
            }
            // The server has one code for both limits.
            (_, Some(api)) if api.to_string().contains("per subject") => Self::FullForHost {
                why: api.to_string(),
            },
            (_, Some(api)) if NO_ROOM.contains(&api.error_code()) => Self::Full {
                why: api.to_string(),
            },
            (_, Some(api))
                if api.error_code() == jetstream::ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM =>
            {
                Self::TooLargeForStream {
                    why: api.to_string(),
                }
            }
            _ => Self::Refused {
                why: WithCauses(error).to_string(),
            },
        }
    }

    /// Returns the error and its causes in one line, with the next step if it is known.
    pub(super) fn text(&self) -> String {
        config::with_hint(self, self.hint())
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Nats(error) => return error.hint(),
            Self::NoStream => {
                "if the server runs JetStream (its log and its disk show that), start `vctl-agent ingest`, which creates the \
                 stream, and check this host's import: deploy/nats/README.md".to_owned()
            }
            Self::Full { .. } => {
                "check that `vctl-agent ingest` runs, raise the limits of the stream, or make room on the server: deploy/nats/README.md".to_owned()
            }
            Self::FullForHost { .. } => {
                "if Postgres refuses one of them, the rest waits behind it: the log of `vctl-agent ingest` names this host and the \
                 reason: deploy/nats/README.md"
                    .to_owned()
            }
            Self::Refused { .. } => {
                "check this host's account on the server: deploy/nats/README.md".to_owned()
            }
            Self::Silent { .. } => {
                "check that JetStream of the server runs, and its disk: deploy/nats/README.md".to_owned()
            }
            Self::TooLarge { .. } => {
                format!("set `max_payload` of the server to at least {LEAST_PAYLOAD}")
            }
            Self::TooLargeForStream { .. } => {
                format!("set `max_msg_size` of the stream to at least {LARGEST_MESSAGE}: deploy/nats/README.md")
            }
            _ => return None,
        })
    }

    /// Returns whether smaller batches may help.
    pub(super) fn is_too_much(&self) -> bool {
        matches!(
            self,
            Self::Silent { .. } | Self::TooLarge { .. } | Self::TooLargeForStream { .. }
        )
    }
}
