//! A disk that fails as planned.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use super::*;

/// Fails the calls of its plan; the others go to the disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Faulty(pub(super) Rc<RefCell<Plan>>);

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) calls: u64,
    /// Calls that fail, by number.
    pub(super) from: u64,
    pub(super) to: u64,
    /// Removals fail.
    pub(super) keeps_files: bool,
    pub(super) syncs: u64,
    /// Every n-th sync fails; 0: no sync fails.
    pub(super) failing_syncs: u64,
    /// Something was written after the last sync, also a failed one.
    pub(super) is_written: bool,
    /// The last bytes are not durable. As in the kernel, another sync does not write again what a failed one dropped.
    pub(super) is_volatile: bool,
    /// Complete segments that were removed while the copies of their entries were not durable.
    pub(super) removed_too_early: u32,
    /// Nothing can be created before so many segments are removed.
    pub(super) room_after_removals: u32,
}

/// The least bytes of a complete segment here. A segment that could not be created has only a head.
const COMPLETE: u64 = 5000;

impl Faulty {
    fn fails(&self) -> io::Result<()> {
        let mut plan = self.0.borrow_mut();
        plan.calls += 1;
        if (plan.from..plan.to).contains(&plan.calls) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl Disk for Faulty {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.fails()?;
        if self.0.borrow().room_after_removals > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Unsynced.create(path)
    }

    fn write_all_at(&mut self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Err(full) = self.fails() {
            // A disk that fills up takes a part.
            Unsynced.write_all_at(file, &bytes[..bytes.len() / 2], at)?;
            return Err(full);
        }
        let mut plan = self.0.borrow_mut();
        (plan.is_written, plan.is_volatile) = (true, true);
        Unsynced.write_all_at(file, bytes, at)
    }

    fn truncate(&mut self, file: &File, len: u64) -> io::Result<()> {
        self.fails()?;
        Unsynced.truncate(file, len)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.fails()?;
        let mut plan = self.0.borrow_mut();
        plan.syncs += 1;
        let was_written = std::mem::take(&mut plan.is_written);
        if plan.failing_syncs > 0 && plan.syncs.is_multiple_of(plan.failing_syncs) {
            return Err(io::Error::other("the device reports an error"));
        }
        plan.is_volatile &= !was_written;
        Unsynced.sync(file)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.fails()?;
        Unsynced.sync_dir(dir)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.fails()?;
        let mut plan = self.0.borrow_mut();
        if plan.keeps_files {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let len = fs::metadata(path)?.len();
        Unsynced.remove(path)?;
        if path.extension().is_some_and(|kind| kind == "seg") {
            plan.room_after_removals = plan.room_after_removals.saturating_sub(1);
            plan.removed_too_early += u32::from(plan.is_volatile && len >= COMPLETE);
        }
        Ok(())
    }
}
