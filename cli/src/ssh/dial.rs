//! A TCP connection without delays by Nagle's algorithm or delayed acknowledgements.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::deadlines;
use super::error::{ConnectStep, SshError};

/// Connects to a host within the time limit.
pub(crate) async fn tcp(host: &str, addr: SocketAddr) -> Result<UndelayedStream, SshError> {
    let connected = timeout(deadlines::TCP, TcpStream::connect(addr)).await;
    let connected = connected.map_err(|_| SshError::TooSlow {
        step: ConnectStep::Tcp,
        host: host.to_owned(),
        after: deadlines::TCP,
    })?;
    connected
        .and_then(UndelayedStream::new)
        .map_err(|source| SshError::Dial {
            host: host.to_owned(),
            addr,
            source,
        })
}

/// A TCP stream that sends and acknowledges at once.
///
/// Without `TCP_NODELAY`, our second small packet waits until the server acknowledges the first, which takes 40 ms.
/// OpenSSH's server also sends without it until a session runs: its second small packet waits for our acknowledgement,
/// which the kernel delays unless `TCP_QUICKACK` is set. The kernel may clear that flag at any time, so it is set again
/// after each read.
#[derive(Debug)]
pub(crate) struct UndelayedStream(TcpStream);

impl UndelayedStream {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let prompt = Self(stream);
        prompt.acknowledge_at_once();
        Ok(prompt)
    }

    /// Returns the local address.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    #[cfg(target_os = "linux")]
    fn acknowledge_at_once(&self) {
        // Only an optimisation: a kernel without it is not an error.
        let _ = self.0.set_quickack(true);
    }

    #[cfg(not(target_os = "linux"))]
    fn acknowledge_at_once(&self) {}
}

impl AsyncRead for UndelayedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.0).poll_read(context, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.acknowledge_at_once();
        }
        read
    }
}

impl AsyncWrite for UndelayedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
