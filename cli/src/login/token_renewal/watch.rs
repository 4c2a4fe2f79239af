//! Reports when the cached token is replaced or removed.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::Notify;

pub(super) struct Watch(Arc<Notify>);

impl Watch {
    /// Watches the directory: a file that is replaced is another one, and so would not be heard of.
    pub(super) fn on(dir: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE;
        inotify.add_watch(dir, changes)?;
        let changed = Arc::new(Notify::new());
        let tell = Arc::clone(&changed);
        // Blocks between changes; ends with the process.
        thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || {
                loop {
                    match inotify.read_events() {
                        Ok(_) => tell.notify_one(),
                        Err(Errno::EINTR) => {}
                        // Then a change is seen when the token is looked after, and not before.
                        Err(_) => return,
                    }
                }
            })?;
        Ok(Self(changed))
    }

    /// Never hears of a change.
    pub(super) fn nothing() -> Self {
        Self(Arc::new(Notify::new()))
    }

    /// Waits for a change of any file of the directory since the last call.
    pub(super) async fn changed(&self) {
        self.0.notified().await;
    }
}
