//! Standard input and output as bytes: nothing is decoded, and a slow reader slows the sender.
//!
//! Each has a thread of its own. A write to a full pipe would otherwise keep the whole connection
//! waiting, its keepalives and what flows the other way included.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::process::descriptor::Descriptor;

/// As much as a pipe of the kernel holds at most by default, and a few of the server's packets.
const PIECE: usize = 256 << 10;
const PIECES: usize = 8;

/// The most that waits to be written to one descriptor. Above that the channel's window is not replenished. As much
/// as a window: OpenSSH takes that much for one stream while the other one flows, too.
const WAITING: u32 = 2 << 20;

/// What a piece costs at least: many small ones take more memory than their bytes.
const SMALLEST: u32 = 256;

const MOST_PIECES: usize = (WAITING / SMALLEST) as usize;

/// Why standard output takes no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error("the reader of the output is gone")]
    ReaderGone,
    #[error("cannot write the output")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Failed(error),
        }
    }
}

/// Pieces of standard input.
pub(crate) struct Input(mpsc::Receiver<Bytes>);

impl Input {
    /// Begins to read.
    pub(crate) fn stdin() -> Self {
        let (sender, receiver) = mpsc::channel(PIECES);
        let reading = Descriptor::stdin().map(|mut file| {
            // Ends with the process: a read that waits cannot be stopped.
            thread::spawn(move || {
                let mut buffer = vec![0; PIECE];
                // What cannot be read has ended.
                while let Ok(length @ 1..) = file.read(&mut buffer) {
                    let piece = Bytes::copy_from_slice(&buffer[..length]);
                    if sender.blocking_send(piece).is_err() {
                        return;
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

/// What a failed write means for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterFailure {
    /// Nothing more is taken.
    Stop,
    /// The rest is taken and thrown away.
    Discard,
}

/// Standard output or standard error.
pub(crate) struct Output {
    pieces: mpsc::Sender<Bytes>,
    room: Arc<Semaphore>,
    done: oneshot::Receiver<io::Result<()>>,
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Self::to(Descriptor::stdout(), AfterFailure::Stop)
    }

    /// A closed standard error changes nothing for the command.
    pub(super) fn stderr() -> Self {
        Self::to(Descriptor::stderr(), AfterFailure::Discard)
    }

    fn to(file: io::Result<Descriptor>, after: AfterFailure) -> Self {
        let (pieces, mut received) = mpsc::channel::<Bytes>(MOST_PIECES);
        let (tell, done) = oneshot::channel();
        let room = Arc::new(Semaphore::new(WAITING as usize));
        let freed = Arc::clone(&room);
        thread::spawn(move || {
            let write = || {
                let mut file = file?;
                while let Some(piece) = received.blocking_recv() {
                    file.write_all(&piece)?;
                    freed.add_permits(cost(&piece) as usize);
                }
                Ok(())
            };
            let written = write();
            if written.is_err() && after == AfterFailure::Stop {
                // Also wakes a write that waits for room.
                freed.close();
            }
            let _ = tell.send(written);
            if after == AfterFailure::Discard {
                freed.add_permits(WAITING as usize);
                while let Some(piece) = received.blocking_recv() {
                    freed.add_permits(cost(&piece) as usize);
                }
            }
        });
        Self { pieces, room, done }
    }

    /// Takes a piece once there is room for it. Returns whether more can be written.
    async fn take(&self, data: Bytes) -> bool {
        let Ok(permit) = self.room.acquire_many(cost(&data)).await else {
            return false;
        };
        permit.forget();
        self.pieces.send(data).await.is_ok()
    }

    pub(crate) async fn write(&mut self, data: Bytes) -> Result<(), WriteError> {
        if self.take(data).await {
            return Ok(());
        }
        // The thread says why it ended.
        match (&mut self.done).await {
            Ok(Err(error)) => Err(error.into()),
            _ => Err(WriteError::ReaderGone),
        }
    }

    /// Waits until everything is written.
    pub(crate) async fn finish(self) -> Result<(), WriteError> {
        drop(self.pieces);
        match self.done.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(WriteError::ReaderGone),
        }
    }
}

fn cost(piece: &Bytes) -> u32 {
    let length = u32::try_from(piece.len()).unwrap_or(WAITING);
    length.clamp(SMALLEST, WAITING)
}

/// Connects a channel with standard input and output, until the channel is closed.
pub(crate) async fn relay(channel: Channel<Msg>) -> Result<(), WriteError> {
    let (mut incoming, outgoing) = channel.split();
    let (mut input, mut out) = (Input::stdin(), Output::stdout());
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
        Ok::<(), WriteError>(())
    };
    tokio::select! {
        done = receiving => done?,
        () = sending => {}
    }
    out.finish().await
}
