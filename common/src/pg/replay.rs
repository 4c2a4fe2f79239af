//! A stream whose login is over, for a client that begins with a login.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::tls_stream::{Tls, end_point};

/// Passes everything on, except the startup message, which the server already has. The first reads return what the
/// server sent before.
#[derive(Debug)]
pub(super) struct Replay<S> {
    inner: S,
    messages: Bytes,
    startup: Startup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Startup {
    Expected,
    /// Bytes of it that were not written yet.
    Within(usize),
    Over,
}

impl<S> Replay<S> {
    pub(super) fn new(inner: S, messages: Bytes) -> Self {
        Self {
            inner,
            messages,
            startup: Startup::Expected,
        }
    }

    /// Returns how many of these bytes belong to the startup message.
    fn of_startup(&mut self, written: &[u8]) -> io::Result<usize> {
        let left = match self.startup {
            Startup::Over => return Ok(0),
            Startup::Within(left) => left,
            Startup::Expected => {
                let length = written
                    .first_chunk()
                    .map(|length| u32::from_be_bytes(*length));
                let length = length.and_then(|length| usize::try_from(length).ok());
                length.ok_or(io::ErrorKind::InvalidInput)?
            }
        };
        let dropped = left.min(written.len());
        self.startup = match left - dropped {
            0 => Startup::Over,
            left => Startup::Within(left),
        };
        Ok(dropped)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replay<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.messages.has_remaining() {
            let count = self.messages.len().min(into.remaining());
            into.put_slice(&self.messages.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replay<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.of_startup(bytes) {
            Ok(0) => Pin::new(&mut self.inner).poll_write(context, bytes),
            dropped => Poll::Ready(dropped),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl TlsStream for Replay<Tls> {
    fn channel_binding(&self) -> ChannelBinding {
        end_point(&self.inner)
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn only_the_startup_message_is_dropped() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut replay = Replay::new(ours, Bytes::from_static(b"welcome"));
        let mut read = [0; 7];
        replay.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"welcome");
        // Its length counts itself.
        replay.write_all(&[0, 0, 0, 7, 1]).await.unwrap();
        replay.write_all(&[2, 3, b'Q']).await.unwrap();
        replay.write_all(b"uery").await.unwrap();
        let mut read = [0; 5];
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"Query");
        theirs.write_all(b"row").await.unwrap();
        let mut read = [0; 3];
        replay.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"row");
    }
}
