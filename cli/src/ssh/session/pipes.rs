//! Standard input and output as bytes: nothing is decoded, and a slow reader slows the sender.
//!
//! Each has its own thread. Otherwise a write to a full pipe would block the whole connection, with its keepalives and
//! the other direction.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::process::descriptor::{self, Descriptor};

/// Default capacity of a kernel pipe, and space for a few of the server's packets.
const PIECE: usize = 256 << 10;
const PIECES: usize = 8;

/// Maximum number of bytes that wait to be written to one descriptor. Above that the channel's window is not
/// replenished. It equals a window: OpenSSH accepts that much for one stream while it serves the other, too.
const WAITING: u32 = 2 << 20;

/// Minimum cost of a piece: many small ones take more memory than their bytes.
const SMALLEST: u32 = 256;

const MOST_PIECES: usize = (WAITING / SMALLEST) as usize;

/// Reason why standard output cannot be written.
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
    /// Starts reading.
    pub(crate) fn stdin() -> Self {
        let (sender, receiver) = mpsc::channel(PIECES);
        let reading = Descriptor::stdin().map(|mut file| {
            // The thread ends with the process: a blocked read cannot be stopped.
            thread::spawn(move || {
                let mut buffer = vec![0; PIECE];
                // A read error counts as the end.
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

/// Effect of a failed write on later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterFailure {
    /// Later pieces are rejected.
    Stop,
    /// Later pieces are discarded.
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

    /// A closed standard error does not end the command.
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
                // This also wakes a write that waits for room.
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

    /// Queues a piece once there is room. Returns false if nothing more can be written.
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
        // The thread returns the error that ended it.
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
                ChannelMsg::Eof | ChannelMsg::Close => {
                    // The reader must get the end of the stream even while it sends more itself.
                    out.finish().await?;
                    // All bytes are written.
                    let _ = descriptor::close_stdout();
                    if matches!(message, ChannelMsg::Eof) {
                        while !matches!(incoming.wait().await, None | Some(ChannelMsg::Close)) {}
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
        out.finish().await
    };
    tokio::select! {
        done = receiving => done,
        () = sending => Ok(()),
    }
}
