//! The servers that doctor checks, and how to connect to each before TLS begins.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vctl_common::tls::TlsProblem;
use vctl_common::{pg, vault};

/// The protocol that comes before TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerKind {
    Vault,
    Postgres,
}

impl ServerKind {
    pub(super) fn server(self) -> &'static str {
        match self {
            Self::Vault => "Vault",
            Self::Postgres => "Postgres",
        }
    }

    pub(super) fn hint(self, problem: TlsProblem) -> &'static str {
        match self {
            Self::Vault => vault::tls_hint(problem),
            Self::Postgres => pg::tls_hint(problem),
        }
    }
}

/// Connects, and does everything that comes before TLS.
pub(super) async fn connect(address: SocketAddr, kind: ServerKind) -> io::Result<TcpStream> {
    let mut tcp = TcpStream::connect(address).await?;
    if kind == ServerKind::Postgres {
        // SSLRequest: its length and its code.
        tcp.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).await?;
        if tcp.read_u8().await? != b'S' {
            return Err(io::Error::other(
                "the server does not offer TLS, so nothing was sent to it",
            ));
        }
    }
    Ok(tcp)
}
