//! Signals on their way to a command that runs in our place.

use std::cell::RefCell;
use std::io;
use std::thread;

use nix::sys::signal::{Signal as Number, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use tokio::sync::mpsc::{Receiver, channel};

use crate::error::Stop;
use crate::process::ignored_signals::is_ignored;

/// Every signal that a person or a supervisor sends to end or to poke a program. One that was ignored at the start
/// stays ignored, for the command too.
const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// Signals to us, from now on ours to deal with.
pub(crate) struct Signals(RefCell<Receiver<Signal>>);

/// The kernel keeps one of a kind, so this many are never waiting in earnest.
const MOST: usize = 64;

/// One that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    number: i32,
    /// From the terminal it went to everybody in the foreground, so the command has it already.
    /// Given a second time, Ctrl-C would mean "at once" to many.
    from_terminal: bool,
}

impl Signals {
    pub(crate) fn take() -> io::Result<Self> {
        let heeded = PASSED_ON.iter().filter(|number| !is_ignored(**number));
        let mut signals = SignalsInfo::<WithOrigin>::new(heeded)?;
        let (sender, receiver) = channel(MOST);
        // Blocks between signals; ends with the process.
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for origin in &mut signals {
                    if sender.blocking_send(Signal::of(&origin)).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self(RefCell::new(receiver)))
    }

    /// Waits for the next one.
    pub(super) async fn next(&self) -> Signal {
        std::future::poll_fn(|context| self.0.borrow_mut().poll_recv(context))
            .await
            .unwrap_or(Signal {
                number: 0,
                from_terminal: true,
            })
    }

    /// Does `work`, for which a signal still means us.
    pub(crate) async fn until_asked_to_stop<T>(
        &self,
        work: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        tokio::select! {
            done = work => done,
            _ = self.next() => Err(Stop::Interrupted),
        }
    }
}

impl Signal {
    fn of(origin: &Origin) -> Self {
        Self {
            number: origin.signal,
            from_terminal: matches!(origin.cause, Cause::Kernel) && origin.signal != SIGHUP,
        }
    }

    pub(super) fn pass_on(self, child: Option<u32>) {
        let (Ok(number), Some(child)) = (Number::try_from(self.number), child) else {
            return;
        };
        if !self.from_terminal
            && let Ok(child) = i32::try_from(child)
        {
            // It may just have ended; until it was waited for, its number is nobody else's.
            let _ = kill(Pid::from_raw(child), number);
        }
    }
}
