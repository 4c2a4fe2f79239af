//! The channel that is requested with the login, without waiting for the answer to the login.

use std::net::SocketAddr;

use russh::Channel;
use russh::client::{ChannelOpener, Msg};

use super::forward::Endpoint;

/// A channel to request. RFC 4252, section 6, passes the request to the connection protocol if the login succeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FirstChannel {
    None,
    Session,
    /// A connection of the host to this address.
    Tcp(Endpoint),
}

impl FirstChannel {
    /// The connection of a jump host to the next host.
    pub(crate) fn to(addr: SocketAddr) -> Self {
        Self::Tcp(Endpoint {
            host: addr.ip().to_string(),
            port: addr.port(),
        })
    }

    /// Requests the channel, and waits until the host has opened it.
    pub(super) async fn open(
        &self,
        opener: ChannelOpener,
    ) -> Option<Result<Channel<Msg>, russh::Error>> {
        Some(match self {
            Self::None => return None,
            Self::Session => opener.channel_open_session().await,
            Self::Tcp(to) => {
                let port = u32::from(to.port);
                let from = "127.0.0.1";
                let opening = opener.channel_open_direct_tcpip(&*to.host, port, from, 0);
                opening.await
            }
        })
    }
}
