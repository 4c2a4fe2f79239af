//! Standard input and output as bytes: nothing is decoded, and a slow reader slows the sender.
//!
//! Each has a thread of its own. A write to a full pipe would otherwise keep the whole connection
//! waiting, its keepalives and what flows the other way included.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::thread;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::sync::{mpsc, oneshot};

/// As much as a pipe of the kernel holds at most by default, and a few of the server's packets.
const PIECE: usize = 256 << 10;
const PIECES: usize = 8;

/// Nobody reads what we write any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReaderGone;

/// Pieces of standard input.
pub(crate) struct Input(mpsc::Receiver<Bytes>);

impl Input {
    /// Begins to read.
    pub(crate) fn stdin() -> Self {
        let (sender, receiver) = mpsc::channel(PIECES);
        let reading = own(io::stdin().as_fd()).map(|mut file| {
            // Ends with the process: a read that waits cannot be stopped.
            thread::spawn(move || {
                let mut buffer = vec![0; PIECE];
                loop {
                    match file.read(&mut buffer) {
                        Ok(0) => return,
                        Ok(length) => {
                            let piece = Bytes::copy_from_slice(&buffer[..length]);
                            if sender.blocking_send(piece).is_err() {
                                return;
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        // What cannot be read has ended.
                        Err(_) => return,
                    }
                }
            })
        });
        drop(reading);
        Self(receiver)
    }

    /// Returns the next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

/// Standard output or standard error.
pub(crate) struct Output {
    pieces: mpsc::Sender<Bytes>,
    done: oneshot::Receiver<io::Result<()>>,
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Self::to(own(io::stdout().as_fd()))
    }

    pub(super) fn stderr() -> Self {
        Self::to(own(io::stderr().as_fd()))
    }

    fn to(file: io::Result<File>) -> Self {
        let (pieces, mut received) = mpsc::channel::<Bytes>(PIECES);
        let (tell, done) = oneshot::channel();
        thread::spawn(move || {
            let write = || {
                let mut file = file?;
                while let Some(piece) = received.blocking_recv() {
                    file.write_all(&piece)?;
                }
                Ok(())
            };
            let _ = tell.send(write());
        });
        Self { pieces, done }
    }

    pub(crate) async fn write(&self, data: Bytes) -> Result<(), ReaderGone> {
        self.pieces.send(data).await.map_err(|_| ReaderGone)
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) -> Result<(), ReaderGone> {
        drop(self.pieces);
        match self.done.await {
            Ok(Ok(())) => Ok(()),
            _ => Err(ReaderGone),
        }
    }
}

/// Past the buffers of the standard library: what it would read ahead is not ours, and what it would
/// hold back is the host's.
fn own(fd: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(fd.try_clone_to_owned()?))
}

/// Connects a channel with standard input and output, until the channel is closed.
pub(crate) async fn relay(channel: Channel<Msg>) -> Result<(), ReaderGone> {
    let (mut incoming, outgoing) = channel.split();
    let (mut input, out) = (Input::stdin(), Output::stdout());
    let sending = async {
        while let Some(piece) = input.next().await {
            if outgoing.data_bytes(piece).await.is_err() {
                return std::future::pending().await;
            }
        }
        let _ = outgoing.eof().await;
        std::future::pending::<()>().await;
    };
    let receiving = async {
        while let Some(message) = incoming.wait().await {
            match message {
                ChannelMsg::Data { data } => out.write(data).await?,
                ChannelMsg::Close => break,
                _ => {}
            }
        }
        Ok(())
    };
    tokio::select! {
        done = receiving => done?,
        () = sending => {}
    }
    out.finish().await
}
