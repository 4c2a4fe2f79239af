//! What goes when the spool is at its cap or was shipped long ago, and what is kept of it.

use std::collections::HashMap;
use std::time::SystemTime;

use vctl_common::id::{BootId, CertSerial};
use vctl_common::session::{GapCause, JournalEntry};
use vctl_common::spool::{BlockEntry, Look, Segment, SegmentFiles};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::Mark;

use super::active::{Active, last_wall};
use super::batch::BatchBuilder;
use super::disk::Disk;
use super::error::SpoolError;
use super::losses::{Loss, condense, losses, merge};
use super::writer::SpoolWriter;

/// A finished segment, as far as dropping it needs to know it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) files: SegmentFiles,
    pub(super) bytes: u64,
    boot_id: BootId,
    /// Sessions with events in it, sorted.
    with_events: Vec<Mark>,
    /// When the last of it happened.
    last_at: Option<SystemTime>,
}

fn sorted(marks: impl IntoIterator<Item = Mark>) -> Vec<Mark> {
    let mut marks: Vec<_> = marks.into_iter().collect();
    marks.sort_unstable();
    marks.dedup();
    marks
}

impl Sealed {
    pub(super) fn of_active(active: Active) -> Self {
        Self {
            bytes: active.bytes(),
            boot_id: active.header.boot_id(),
            with_events: sorted(active.with_events),
            last_at: active.last_at,
            files: SegmentFiles {
                len: active.end,
                ..active.files
            },
        }
    }

    pub(super) fn of_loaded(segment: &Segment) -> Self {
        let entries = segment.entries();
        let events = entries.iter().filter(|entry| entry.is_events());
        Self {
            files: segment.files.clone(),
            bytes: segment.files.len + segment.index_bytes().len() as u64,
            boot_id: segment.header.boot_id(),
            with_events: sorted(events.map(BlockEntry::mark)),
            last_at: last_wall(entries),
        }
    }
}

impl<D: Disk> SpoolWriter<D> {
    /// Drops segments until one more fits under the cap.
    pub(super) fn make_room(&mut self) -> Result<(), SpoolError> {
        while self.bytes() + self.config.segment_bytes > self.config.cap_bytes
            && !self.sealed.is_empty()
        {
            self.drop_one()?;
        }
        Ok(())
    }

    fn drop_one(&mut self) -> Result<(), SpoolError> {
        let first = |wanted: &dyn Fn(&Sealed) -> bool| self.sealed.iter().position(wanted);
        let nth = first(&|s| self.is_shipped(s) && self.is_over(s))
            .or_else(|| first(&|s| self.is_shipped(s)))
            .or_else(|| first(&|s| self.is_over(s)));
        self.drop_nth(nth.unwrap_or(0))
    }

    /// Drops what was shipped, is over, and happened before `before`.
    pub(super) fn drop_shipped_before(&mut self, before: SystemTime) -> Result<(), SpoolError> {
        loop {
            let is_old = |s: &Sealed| s.last_at.is_none_or(|last_at| last_at < before);
            let mut sealed = self.sealed.iter();
            let expired = sealed.position(|s| is_old(s) && self.is_shipped(s) && self.is_over(s));
            match expired {
                Some(nth) => self.drop_nth(nth)?,
                None => return Ok(()),
            }
        }
    }

    fn is_shipped(&self, sealed: &Sealed) -> bool {
        let (number, end) = (sealed.files.number, sealed.files.len);
        self.shipped
            .is_some_and(|shipped| number < shipped.segment || shipped.includes(number, end))
    }

    /// No event in it is of an open session. Not by the journal: every head names every session that
    /// was open then.
    fn is_over(&self, sealed: &Sealed) -> bool {
        let mut marks = sealed.with_events.iter();
        !marks.any(|mark| self.live.contains_key(mark))
    }

    fn drop_nth(&mut self, nth: usize) -> Result<(), SpoolError> {
        let victim = self.sealed.remove(nth);
        let dropped = self.drop_segment(&victim);
        if dropped.is_err() {
            self.sealed.insert(nth, victim);
        }
        dropped
    }

    fn drop_segment(&mut self, victim: &Sealed) -> Result<(), SpoolError> {
        let mut dropped = 0;
        let mut unattributed = 0;
        // A segment that says nothing of itself has nothing to be kept.
        if let Ok(segment) = Segment::load(&victim.files, Look::Index, Vec::new())? {
            let losses = losses(&segment, self.shipped)?;
            let counts = |loss: &Loss| loss.dropped.as_ref().and_then(|gap| gap.events);
            for (&mark, loss) in &losses {
                match mark {
                    0 => unattributed += counts(loss).unwrap_or(0),
                    _ => dropped += counts(loss).unwrap_or(0),
                }
            }
            let mut kept = BatchBuilder::new();
            self.keep(victim, losses, &mut kept)?;
            if !kept.is_empty() {
                self.append(&mut kept, self.ring, WallOffset::from_ns(0))?;
            }
        }
        // Durable before the events are gone, so that no crash makes it a silent loss.
        self.sync()?;
        let removed = self.disk.remove(&victim.files.segment);
        removed.map_err(|e| SpoolError::write(&victim.files.segment, e))?;
        self.stats.segments_dropped += 1;
        self.stats.events_dropped += dropped;
        self.stats.unattributed_dropped += unattributed;
        // An index without its segment is cleared away when the spool is next opened.
        let _ = self.disk.remove(&victim.files.index);
        let _ = self.disk.sync_dir(&self.config.dir);
        tracing::info!(
            segment = victim.files.number,
            events = dropped,
            unattributed,
            "Dropped a spool segment."
        );
        Ok(())
    }

    /// Puts into `kept` what must outlive the segment.
    fn keep(
        &self,
        victim: &Sealed,
        losses: HashMap<Mark, Loss>,
        kept: &mut BatchBuilder,
    ) -> Result<(), SpoolError> {
        let boot_id = self.config.boot_id;
        for (mark, loss) in losses {
            if mark == 0 {
                let relevant = |of: BootId| {
                    of == boot_id || self.sealed.iter().any(|sealed| sealed.boot_id == of)
                };
                let journal = condense(loss.journal).into_iter();
                carry(
                    kept,
                    0,
                    None,
                    boot_id,
                    journal.filter(|(_, _, of)| relevant(*of)),
                )?;
                continue;
            }
            let elsewhere = self.active.with_events.contains(&mark)
                || self
                    .sealed
                    .iter()
                    .any(|sealed| sealed.with_events.binary_search(&mark).is_ok());
            let live = self.live.contains_key(&mark);
            if loss.dropped.is_none() && !elsewhere && !live {
                continue;
            }
            let wall = loss.journal.last().map(|(_, wall, _)| *wall);
            let wall = loss.wall.or(wall).unwrap_or(WallOffset::from_ns(0));
            let id = loss
                .id
                .or_else(|| self.live.get(&mark).map(|live| live.opened.id));
            let mut journal = condense(loss.journal);
            let mut gaps = Vec::new();
            for (cause, gap) in [
                (GapCause::SpoolCap, loss.dropped),
                (GapCause::Shipped, loss.shipped),
            ] {
                let (rest, merged) = merge(journal, cause, gap, victim.boot_id);
                journal = rest;
                gaps.extend(merged.map(|(mut gap, of)| {
                    gap.session = gap.session.or(id);
                    (JournalEntry::Gap(gap), wall, of)
                }));
            }
            // An open session's beginning is at the head of the active segment already.
            let journal = journal
                .into_iter()
                .filter(|(entry, _, _)| !(live && matches!(entry, JournalEntry::Opened(_))));
            carry(kept, mark, loss.serial, boot_id, journal.chain(gaps))?;
        }
        Ok(())
    }
}

fn carry(
    kept: &mut BatchBuilder,
    mark: Mark,
    serial: Option<CertSerial>,
    boot_id: BootId,
    journal: impl Iterator<Item = (JournalEntry, WallOffset, BootId)>,
) -> Result<(), SpoolError> {
    for (entry, wall, of) in journal {
        let at = times(&entry);
        let nth = kept.begin_carried(mark, serial, wall);
        kept.write_line(nth, &entry, Some(of).filter(|of| *of != boot_id), at)?;
    }
    Ok(())
}

fn times(entry: &JournalEntry) -> (BootNs, BootNs) {
    match entry {
        JournalEntry::Opened(opened) => (opened.opened_at, opened.opened_at),
        JournalEntry::Closed(closed) => (closed.at, closed.at),
        JournalEntry::Gap(gap) => (gap.from, gap.to),
    }
}
