//! Signals that vctl passes to the command of `vctl exec`.

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

/// Signals that a user or a supervisor sends to stop or notify a program. A signal that was ignored at the
/// start stays ignored, also for the command.
const PASSED_ON: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// Handler of signals to vctl.
pub(crate) struct ForwardedSignals(RefCell<Receiver<Signal>>);

/// Size of the queue. The kernel holds one pending signal of each kind, so it never fills.
const MOST: usize = 64;

/// A received signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    number: i32,
    /// Whether the kernel sent it, from the terminal. The command is in the same foreground group and already
    /// has the signal; a second Ctrl-C would mean "stop at once" to many programs.
    from_terminal: bool,
}

impl ForwardedSignals {
    pub(crate) fn take() -> io::Result<Self> {
        let heeded = PASSED_ON.iter().filter(|number| !is_ignored(**number));
        let mut signals = SignalsInfo::<WithOrigin>::new(heeded)?;
        let (sender, receiver) = channel(MOST);
        // Blocks between signals. The thread ends with the process.
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

    /// Waits for the next signal.
    pub(super) async fn next(&self) -> Signal {
        std::future::poll_fn(|context| self.0.borrow_mut().poll_recv(context))
            .await
            .unwrap_or(Signal {
                number: 0,
                from_terminal: true,
            })
    }

    /// Runs `work` of vctl itself; a signal stops it.
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
            // The command may have just ended, but its pid is not reused before it is waited for.
            let _ = kill(Pid::from_raw(child), number);
        }
    }
}
