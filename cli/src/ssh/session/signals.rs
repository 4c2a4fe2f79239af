//! Signals to us.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use nix::libc;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

/// How long a remote command that was told of a signal may take to end by it.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// One that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The terminal has another size.
    Resized,
    /// Somebody wants us to end: the signal's number.
    End(i32),
}

/// All that we heed, from the moment it is made.
pub(crate) struct Signals(RefCell<Streams>);

struct Streams {
    resized: Stream,
    interrupt: Stream,
    terminate: Stream,
    hang_up: Stream,
    quit: Stream,
}

impl Signals {
    pub(crate) fn take() -> io::Result<Self> {
        Ok(Self(RefCell::new(Streams {
            resized: signal(SignalKind::window_change())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })))
    }

    pub(crate) async fn next(&self) -> Signal {
        std::future::poll_fn(|context| {
            let streams = &mut *self.0.borrow_mut();
            if streams.resized.poll_recv(context).is_ready() {
                return Signal::Resized.into();
            }
            for (stream, number) in [
                (&mut streams.interrupt, libc::SIGINT),
                (&mut streams.terminate, libc::SIGTERM),
                (&mut streams.hang_up, libc::SIGHUP),
                (&mut streams.quit, libc::SIGQUIT),
            ] {
                if stream.poll_recv(context).is_ready() {
                    return Signal::End(number).into();
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Waits for one that wants us to end.
    pub(crate) async fn end(&self) -> i32 {
        loop {
            if let Signal::End(number) = self.next().await {
                return number;
            }
        }
    }
}
