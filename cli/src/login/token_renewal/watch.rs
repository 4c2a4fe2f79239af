//! Reports when the cached token is replaced or removed, by way of the crate `notify`: inotify on Linux, kqueue on
//! macOS.

use std::path::Path;
use std::sync::Arc;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

pub(super) struct Watch {
    changed: Arc<Notify>,
    /// Watches until it is dropped.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches the directory: a replaced file is another one, so a watch of the file would not see it.
    pub(super) fn on(dir: &Path) -> notify::Result<Self> {
        let changed = Arc::new(Notify::new());
        let report = Arc::clone(&changed);
        // After an error a change is seen only when the token is next renewed.
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<_>| {
            if event.is_ok_and(|event: notify::Event| is_change(event.kind)) {
                report.notify_one();
            }
        })?;
        watcher.watch(dir, RecursiveMode::NonRecursive)?;
        Ok(Self {
            changed,
            _watcher: Some(watcher),
        })
    }

    /// Never reports a change.
    pub(super) fn nothing() -> Self {
        Self {
            changed: Arc::new(Notify::new()),
            _watcher: None,
        }
    }

    /// Waits for a change of any file of the directory since the last call.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Whether a name now leads to another file, or to none. A file that is read or written is not a change: vctl
/// itself does both after each report.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => true,
        // kqueue reports a rename in the directory as a new file.
        EventKind::Create(_) => !cfg!(target_os = "linux"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_replaced_file_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let (token, new) = (dir.path().join("token"), dir.path().join("new"));
        fs::write(&token, "old").unwrap();
        fs::write(&new, "new").unwrap();
        let watch = Watch::on(dir.path()).unwrap();
        fs::rename(&new, &token).unwrap();
        timeout(PATIENCE, watch.changed()).await.unwrap();
    }

    #[tokio::test]
    async fn a_removed_file_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        fs::write(&token, "old").unwrap();
        let watch = Watch::on(dir.path()).unwrap();
        fs::remove_file(&token).unwrap();
        timeout(PATIENCE, watch.changed()).await.unwrap();
    }

    #[test]
    fn reading_and_writing_is_not_a_change() {
        use notify::event::{AccessKind, DataChange};
        assert!(!is_change(EventKind::Access(AccessKind::Any)));
        assert!(!is_change(EventKind::Modify(ModifyKind::Data(
            DataChange::Any
        ))));
    }
}
