//! Signals to vctl.

use std::cell::RefCell;
use std::io;
use std::task::Poll;
use std::time::Duration;

use nix::libc;
use tokio::signal::unix::{Signal as Stream, SignalKind};

use crate::process::ignored_signals::stream;

/// Time for the remote command to end after a signal was forwarded to it.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// A received signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// The terminal may have a new size.
    Resized,
    /// The process continues after a stop; another program may have used the terminal.
    Resumed,
    /// A request to end, with the signal's number.
    End(i32),
}

/// The handled signals. A signal that was ignored at the start stays ignored.
pub(crate) struct Signals(RefCell<Vec<(Stream, Signal)>>);

impl Signals {
    pub(crate) fn take() -> io::Result<Self> {
        let mut streams = Vec::new();
        for (kind, signal) in [
            (SignalKind::window_change(), Signal::Resized),
            (SignalKind::from_raw(libc::SIGCONT), Signal::Resumed),
            (SignalKind::interrupt(), Signal::End(libc::SIGINT)),
            (SignalKind::terminate(), Signal::End(libc::SIGTERM)),
            (SignalKind::hangup(), Signal::End(libc::SIGHUP)),
            (SignalKind::quit(), Signal::End(libc::SIGQUIT)),
        ] {
            streams.extend(stream(kind)?.map(|stream| (stream, signal)));
        }
        Ok(Self(RefCell::new(streams)))
    }

    pub(crate) async fn next(&self) -> Signal {
        std::future::poll_fn(|context| {
            for (stream, signal) in &mut *self.0.borrow_mut() {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Waits for a signal that asks vctl to end.
    pub(crate) async fn end(&self) -> i32 {
        loop {
            if let Signal::End(number) = self.next().await {
                return number;
            }
        }
    }

    /// After a first signal, waits for the one that ends vctl at once.
    ///
    /// SIGHUP is none: a terminal that closes sends it twice, and logind sends it right after SIGTERM. The record of the
    /// attempt would be lost.
    pub(crate) async fn end_at_once(&self) -> i32 {
        loop {
            let number = self.end().await;
            if number != libc::SIGHUP {
                return number;
            }
        }
    }
}
