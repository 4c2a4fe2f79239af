//! Wakes the loop when a login leaves its marker: a stamp that was not answered in time leaves
//! nothing else, and until the marker is seen nothing of that login is recorded.

use std::fs::DirBuilder;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;
use tracing::warn;

/// A watch on the directory of markers. To tokio an inotify descriptor is like a pipe's reading end.
pub(super) struct MarkerWatch(Option<Receiver>);

impl MarkerWatch {
    /// Watches `dir`, which is made when it is missing.
    ///
    /// Without a watch markers are found all the same, only later: by housekeeping.
    pub(super) fn begin(dir: &Path) -> Self {
        Self(
            watch(dir)
                .inspect_err(|error| warn!(%error, "Late logins will be noticed late."))
                .ok(),
        )
    }

    /// Waits until a marker has come.
    pub(super) async fn changed(&mut self) {
        let Some(watch) = &self.0 else {
            return pending().await;
        };
        let woken = watch.readable().await;
        // What is in the events does not matter: the whole directory is read anyway.
        let mut events = [0; 4096];
        while watch.try_read(&mut events).is_ok_and(|len| len > 0) {}
        if let Err(error) = woken {
            warn!(%error, "Late logins will be noticed late.");
            self.0 = None;
        }
    }
}

fn watch(dir: &Path) -> std::io::Result<Receiver> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    // A marker is renamed to its name when all of it is written.
    watch.add_watch(dir, AddWatchFlags::IN_MOVED_TO)?;
    Receiver::from_owned_fd_unchecked(OwnedFd::from(watch))
}
