//! Wakes the loop when a hook leaves the file of a late login. Nothing of that login is recorded before its file is
//! read, and no other signal comes from a stamp that was not answered in time.

use std::fs::DirBuilder;
use std::future::pending;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe::Receiver;
use tracing::warn;
use vctl_common::causes::WithCauses;

/// A watch on the directory of late logins. For tokio an inotify descriptor is like the reading end of a pipe.
pub(super) struct LateLoginWatch(Option<Receiver>);

impl LateLoginWatch {
    /// Watches `dir`, which is created when it is missing.
    ///
    /// Without a watch the files are found by housekeeping, only later.
    pub(super) fn begin(dir: &Path) -> Self {
        Self(
            watch(dir)
                .inspect_err(
                    |error| warn!(error = %WithCauses(&error), "Late logins will be noticed late."),
                )
                .ok(),
        )
    }

    /// Waits until a file has come.
    pub(super) async fn changed(&mut self) {
        let Some(watch) = &self.0 else {
            return pending().await;
        };
        let woken = watch.readable().await;
        // The events are not needed: the whole directory is read anyway.
        let mut events = [0; 4096];
        while watch.try_read(&mut events).is_ok_and(|len| len > 0) {}
        if let Err(error) = woken {
            warn!(error = %WithCauses(&error), "Late logins will be noticed late.");
            self.0 = None;
        }
    }
}

fn watch(dir: &Path) -> std::io::Result<Receiver> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let watch = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    // The hook renames a file to its name once it is complete.
    watch.add_watch(dir, AddWatchFlags::IN_MOVED_TO)?;
    Receiver::from_owned_fd_unchecked(OwnedFd::from(watch))
}
