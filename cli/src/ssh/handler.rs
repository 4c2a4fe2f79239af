//! Actions that a server starts: it shows its key and a banner, and opens channels.

use std::sync::{Arc, OnceLock};

use russh::Channel;
use russh::client::{self, ChannelOpenHandle, DisconnectReason, Msg};
use russh::keys::PublicKeyOrCertificate;
use tokio::sync::{mpsc, oneshot, watch};
use vctl_common::causes::WithCauses;

use super::error::ConnectionError;
use crate::ui::notice;

/// Maximum number of banner lines shown.
const BANNER_LINES: usize = 50;

/// A channel that the server opened for us.
pub(crate) enum Inbound {
    /// A client connected to a forwarded port of the server.
    Forwarded {
        channel: Channel<Msg>,
        /// The forwarded address and port of the server.
        address: String,
        port: u32,
        reply: ChannelOpenHandle,
    },
    /// A process there connected to the forwarded agent.
    Agent {
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    },
}

/// The key or certificate of a server, and the channel to accept it. Without an answer it is rejected.
pub(super) struct KeyQuestion {
    pub(super) shown: PublicKeyOrCertificate,
    pub(super) accept: oneshot::Sender<()>,
}

/// Maximum number of characters of the server's reason that are kept.
const REASON_LENGTH: usize = 200;

/// The reason of the end of a connection, once it has ended.
#[derive(Clone, Debug, Default)]
pub(super) struct EndReason(Arc<OnceLock<String>>);

impl EndReason {
    /// Returns the reason instead of `source`, which says only that the connection is gone.
    pub(super) fn or(&self, source: russh::Error) -> ConnectionError {
        let is_vague = matches!(
            source,
            russh::Error::Disconnect
                | russh::Error::SendError
                | russh::Error::RecvError
                | russh::Error::HUP
        );
        match self.0.get() {
            Some(reason) if is_vague => ConnectionError::Ended(reason.clone()),
            _ => source.into(),
        }
    }

    fn set(&self, reason: DisconnectReason<russh::Error>) {
        let reason = match reason {
            DisconnectReason::ReceivedDisconnect(told) => {
                let text: String = told.message.trim().chars().take(REASON_LENGTH).collect();
                if text.is_empty() {
                    return;
                }
                format!("the host closed the connection: {text}")
            }
            DisconnectReason::Error(russh::Error::Disconnect) => return,
            DisconnectReason::Error(russh::Error::KeepaliveTimeout) => {
                "the host did not answer keepalives".to_owned()
            }
            DisconnectReason::Error(error) => WithCauses(&error).to_string(),
        };
        let _ = self.0.set(reason);
    }
}

/// Handler of a connection's callbacks.
pub(crate) struct Handler {
    /// Dropped with the connection.
    _alive: watch::Sender<()>,
    ask: mpsc::Sender<KeyQuestion>,
    /// The accepted key: the server shows it again in each key exchange.
    accepted: Option<russh::keys::PublicKey>,
    inbound: Option<mpsc::Sender<Inbound>>,
    reason: EndReason,
}

impl Handler {
    /// `ask` decides about the server's key; without `inbound`, every channel that the server opens is refused.
    pub(super) fn new(
        alive: watch::Sender<()>,
        ask: mpsc::Sender<KeyQuestion>,
        inbound: Option<mpsc::Sender<Inbound>>,
        reason: EndReason,
    ) -> Self {
        Self {
            _alive: alive,
            ask,
            accepted: None,
            inbound,
            reason,
        }
    }
}

impl client::Handler for Handler {
    type Error = russh::Error;

    async fn auth_banner(
        &mut self,
        banner: &str,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        for line in banner.lines().take(BANNER_LINES) {
            // Prefixed, so that a server cannot imitate messages of vctl.
            notice::done(&format!("| {line}"));
        }
        Ok(())
    }

    async fn disconnected(
        &mut self,
        reason: DisconnectReason<Self::Error>,
    ) -> Result<(), Self::Error> {
        let result = match &reason {
            DisconnectReason::ReceivedDisconnect(_) => Ok(()),
            DisconnectReason::Error(_) => Err(russh::Error::Disconnect),
        };
        self.reason.set(reason);
        result
    }

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let key = shown.public_key();
        if let Some(accepted) = &self.accepted {
            return Ok(*accepted == key);
        }
        let (accept, accepted) = oneshot::channel();
        let shown = match shown {
            PublicKeyOrCertificate::Certificate(certificate) => certificate.clone().into(),
            PublicKeyOrCertificate::PublicKey { key, hash_alg } => {
                PublicKeyOrCertificate::PublicKey {
                    key: key.clone(),
                    hash_alg: *hash_alg,
                }
            }
        };
        if self.ask.send(KeyQuestion { shown, accept }).await.is_err() || accepted.await.is_err() {
            return Ok(false);
        }
        self.accepted = Some(key);
        Ok(true)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        address: &str,
        port: u32,
        _from: &str,
        _from_port: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        // A dropped channel is refused. The queue is full only in a flood.
        if let Some(inbound) = &self.inbound {
            let _ = inbound.try_send(Inbound::Forwarded {
                channel,
                address: address.to_owned(),
                port,
                reply,
            });
        }
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        if let Some(inbound) = &self.inbound {
            let _ = inbound.try_send(Inbound::Agent { channel, reply });
        }
        Ok(())
    }

    // Channels that were never requested are refused, whatever the library does by default.
    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        Ok(())
    }
}
