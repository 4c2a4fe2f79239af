//! What a server does without our asking: it shows its key, a banner, and opens channels.

use russh::Channel;
use russh::client::{self, ChannelOpenHandle, Msg};
use russh::keys::PublicKeyOrCertificate;
use tokio::sync::{mpsc, oneshot, watch};

use crate::ui::notice;

/// A banner is shown up to here.
const BANNER_LINES: usize = 50;

/// A channel that the server opened for us.
pub(crate) enum Inbound {
    /// Somebody came to a port that we asked for.
    Forwarded {
        channel: Channel<Msg>,
        /// The port that was asked for at the server.
        port: u32,
        reply: ChannelOpenHandle,
    },
    /// Somebody there asks for our agent.
    Agent {
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    },
}

/// What a server showed, and where to say that it is believed. Without a word it is not.
pub(super) struct Question {
    pub(super) shown: PublicKeyOrCertificate,
    pub(super) believe: oneshot::Sender<()>,
}

/// What happens on a connection without our asking.
pub(crate) struct Handler {
    /// Dropped with the connection.
    _alive: watch::Sender<()>,
    ask: mpsc::Sender<Question>,
    /// What was shown and believed: shown again with each new key exchange.
    believed: Option<russh::keys::PublicKey>,
    inbound: Option<mpsc::Sender<Inbound>>,
}

impl Handler {
    /// `ask` decides about the server; without `inbound` every channel it opens is refused.
    pub(super) fn new(
        alive: watch::Sender<()>,
        ask: mpsc::Sender<Question>,
        inbound: Option<mpsc::Sender<Inbound>>,
    ) -> Self {
        Self {
            _alive: alive,
            ask,
            believed: None,
            inbound,
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
            // Marked, or a server could speak as vctl does.
            notice::done(&format!("| {line}"));
        }
        Ok(())
    }

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let key = shown.public_key();
        if let Some(believed) = &self.believed {
            return Ok(*believed == key);
        }
        let (believe, believed) = oneshot::channel();
        let shown = match shown {
            PublicKeyOrCertificate::Certificate(certificate) => certificate.clone().into(),
            PublicKeyOrCertificate::PublicKey { key, hash_alg } => {
                PublicKeyOrCertificate::PublicKey {
                    key: key.clone(),
                    hash_alg: *hash_alg,
                }
            }
        };
        if self.ask.send(Question { shown, believe }).await.is_err() || believed.await.is_err() {
            return Ok(false);
        }
        self.believed = Some(key);
        Ok(true)
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _address: &str,
        port: u32,
        _from: &str,
        _from_port: u32,
        reply: ChannelOpenHandle,
        _: &mut client::Session,
    ) -> Result<(), Self::Error> {
        // Dropped, it is refused: also when so many are waiting that only a flood could be behind it.
        if let Some(inbound) = &self.inbound {
            let _ = inbound.try_send(Inbound::Forwarded {
                channel,
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

    // What we never asked for is refused, whatever the library would do.
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
