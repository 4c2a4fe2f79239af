//! The head of a segment: the entries of all open sessions, with which it begins.

use vctl_common::session::JournalEntry;
use vctl_common::time::WallOffset;

use super::batch::{BatchBuilder, serial_of};
use super::disk::Disk;
use super::error::SpoolError;
use super::writer::SpoolWriter;

/// Bytes after which a batch of a segment's head is written.
const HEAD_BATCH: usize = 256 * 1024;

impl<D: Disk> SpoolWriter<D> {
    /// Writes the open sessions that the active segment does not name. In several batches: with thousands of sessions
    /// one would need more memory than the agent has.
    pub(super) fn write_head(&mut self) -> Result<(), SpoolError> {
        let mut head = BatchBuilder::new();
        let boot_id = self.config.boot_id;
        let is_begin = self.active.end == self.active.head_end;
        let named = &self.active.named;
        let unnamed = self.live.keys().filter(|mark| !named.contains(mark));
        for mark in unnamed.copied().collect::<Vec<_>>() {
            let Some(live) = self.live.get(&mark) else {
                continue;
            };
            let nth = head.begin_carried(mark, serial_of(&live.opened), live.wall);
            let other_boot = Some(live.boot_id).filter(|of| *of != boot_id);
            let at = live.opened.opened_at;
            let entry = JournalEntry::Opened(Box::new(live.opened.clone()));
            head.write_line(nth, &entry, other_boot, (at, at))?;
            if head.len() >= HEAD_BATCH {
                self.append_head(&mut head)?;
            }
        }
        self.append_head(&mut head)?;
        if is_begin {
            self.active.end_head();
        }
        Ok(())
    }

    fn append_head(&mut self, head: &mut BatchBuilder) -> Result<(), SpoolError> {
        if head.is_empty() {
            return Ok(());
        }
        self.append(head, self.ring, WallOffset::from_ns(0))?;
        head.clear();
        Ok(())
    }
}
