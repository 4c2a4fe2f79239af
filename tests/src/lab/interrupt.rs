//! Handles Ctrl-C and SIGTERM: every lab of the process is undone before the process ends.

use std::sync::{Arc, Mutex, Once, PoisonError, Weak};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::journal::Journal;

static LIVE: Mutex<Vec<Weak<Journal>>> = Mutex::new(Vec::new());
static WATCHER: Once = Once::new();

/// Makes the process undo the journal when it gets a signal to end.
pub(super) fn watch(journal: &Arc<Journal>) {
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    live.retain(|journal| journal.strong_count() > 0);
    live.push(Arc::downgrade(journal));
    WATCHER.call_once(|| {
        let mut signals = match Signals::new([SIGINT, SIGTERM, SIGHUP]) {
            Ok(signals) => signals,
            Err(error) => return super::say(&format!("Ctrl-C will not undo: {error}")),
        };
        std::thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                undo_and_end(signal);
            }
        });
    });
}

#[allow(
    clippy::exit,
    reason = "a signal ends the process; the shell expects 128 + signal"
)]
fn undo_and_end(signal: i32) -> ! {
    super::say("interrupted: undoing what was changed");
    // The lock is released during the undo. The undo waits for other labs, and they may need the lock to register.
    let live: Vec<_> = {
        let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.iter().filter_map(Weak::upgrade).collect()
    };
    for failure in live.iter().flat_map(|journal| journal.undo()) {
        super::say(&format!("{failure:#}"));
    }
    std::process::exit(128 + signal)
}
