//! Signals that were ignored when this process started, for example by `nohup`.
//!
//! A handler would undo that, so vctl installs none for them. Only Linux reports these signals without
//! unsafe code; other systems report none.

use std::fs;
use std::io;
use std::sync::OnceLock;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Returns whether a signal was ignored at the start. Call it before any handler is installed.
pub(crate) fn is_ignored(number: i32) -> bool {
    static IGNORED: OnceLock<u64> = OnceLock::new();
    let ignored = IGNORED.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status");
        status.map_or(0, |status| ignored_in(&status))
    });
    u32::try_from(number - 1)
        .ok()
        .and_then(|bit| ignored.checked_shr(bit))
        .is_some_and(|bits| bits & 1 == 1)
}

fn ignored_in(status: &str) -> u64 {
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).unwrap_or_default()
}

/// Returns a stream of a signal; `None` if the signal stays ignored.
pub(crate) fn stream(kind: SignalKind) -> io::Result<Option<Signal>> {
    if is_ignored(kind.as_raw_value()) {
        return Ok(None);
    }
    signal(kind).map(Some)
}

/// Waits for the next signal; for ever if the signal stays ignored.
pub(crate) async fn next(stream: &mut Option<Signal>) {
    match stream {
        Some(stream) => {
            if stream.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signal_mask_of_proc_is_parsed() {
        let status = "Name:\tvctl\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\n";
        assert_eq!(ignored_in(status), 0x1003);
        assert_eq!(ignored_in("Name:\tvctl\n"), 0);
    }
}
