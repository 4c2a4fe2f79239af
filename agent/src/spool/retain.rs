//! Drops segments at the cap and after a set time, and copies what must stay.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use vctl_common::causes::WithCauses;
use vctl_common::id::{BootId, CertSerial};
use vctl_common::session::{GapCause, JournalEntry};
use vctl_common::spool::{Look, Segment};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::Mark;

use super::batch::BatchBuilder;
use super::disk::Disk;
use super::error::SpoolError;
use super::losses::{Loss, condense, losses, merge};
use super::segment_state::Sealed;
use super::unclosed::unclosed_without;
use super::writer::SpoolWriter;

impl<D: Disk> SpoolWriter<D> {
    /// Drops segments until another one fits under the cap.
    pub(super) fn make_room(&mut self) -> Result<(), SpoolError> {
        while self.bytes() + self.config.segment_bytes > self.config.cap_bytes
            && !self.sealed.is_empty()
        {
            let before = self.bytes();
            let trimmed = self.trim_largest().unwrap_or_else(|error| {
                tracing::warn!(error = %WithCauses(&error), "The largest session of the spool could not be trimmed.");
                false
            });
            if !trimmed || self.bytes() >= before {
                self.drop_one()?;
            }
        }
        Ok(())
    }

    fn drop_one(&mut self) -> Result<(), SpoolError> {
        let first = |wanted: &dyn Fn(&Sealed) -> bool| self.sealed.iter().position(wanted);
        let nth = first(&|s| self.is_shipped(s) && self.is_over(s))
            .or_else(|| first(&|s| self.is_shipped(s)))
            .or_else(|| first(&|s| self.is_over(s)));
        self.drop_nth(nth.unwrap_or(0), None)
    }

    /// Drops segments that were shipped, have no open session, and ended before `before`.
    pub(super) fn drop_shipped_before(&mut self, before: SystemTime) -> Result<(), SpoolError> {
        loop {
            let is_old = |s: &Sealed| s.last_at.is_none_or(|last_at| last_at < before);
            let mut sealed = self.sealed.iter();
            let expired = sealed.position(|s| is_old(s) && self.is_shipped(s) && self.is_over(s));
            match expired {
                Some(nth) => self.drop_nth(nth, None)?,
                None => return Ok(()),
            }
        }
    }

    pub(super) fn is_shipped(&self, sealed: &Sealed) -> bool {
        sealed.is_shipped(self.shipped)
    }

    fn is_over(&self, sealed: &Sealed) -> bool {
        sealed.is_over(&self.live)
    }

    /// Drops a segment, with all events in it or only with those of `heavy`.
    pub(super) fn drop_nth(
        &mut self,
        nth: usize,
        heavy: Option<&HashSet<Mark>>,
    ) -> Result<(), SpoolError> {
        let mut victim = self.sealed.remove(nth);
        let dropped = self.drop_segment(&mut victim, heavy);
        if dropped.is_err() {
            self.sealed.insert(nth, victim);
        }
        dropped
    }

    fn drop_segment(
        &mut self,
        victim: &mut Sealed,
        heavy: Option<&HashSet<Mark>>,
    ) -> Result<(), SpoolError> {
        let (dropped, unattributed) = match victim.copied {
            Some(counts) => counts,
            None => self.copy_kept(victim, heavy)?,
        };
        // Durable before the events are removed: no crash makes it a silent loss. After a failed sync the copy is made
        // again, because the next sync does not cover this one.
        self.sync()?;
        // A removal that fails is tried again. A second copy would double the events in the counters of readers.
        victim.copied = Some((dropped, unattributed));
        let removed = self.disk.remove(&victim.files.segment);
        removed.map_err(|e| SpoolError::write(&victim.files.segment, e))?;
        self.stats.segments_dropped += 1;
        self.stats.events_dropped += dropped;
        self.stats.unattributed_dropped += unattributed;
        // An index without its segment is removed when the spool is opened next.
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

    /// Copies what must outlive a segment into the active one. Returns the numbers of events that go, those with a
    /// session and those without.
    fn copy_kept(
        &mut self,
        victim: &Sealed,
        heavy: Option<&HashSet<Mark>>,
    ) -> Result<(u64, u64), SpoolError> {
        let mut dropped = 0;
        let mut unattributed = 0;
        // An unreadable segment has nothing to copy.
        if let Ok(segment) = Segment::load(&victim.files, Look::Index, Vec::new())? {
            let mut kept = BatchBuilder::new();
            let stays = |mark| heavy.is_some_and(|heavy| !heavy.contains(&mark));
            let losses = losses(&segment, self.shipped, stays, &mut kept)?;
            let counts = |loss: &Loss| loss.dropped.as_ref().and_then(|gap| gap.events);
            for (&mark, loss) in &losses {
                match mark {
                    0 => unattributed += counts(loss).unwrap_or(0),
                    _ => dropped += counts(loss).unwrap_or(0),
                }
            }
            self.keep(victim, losses, &mut kept)?;
            if !kept.is_empty() {
                self.append(&mut kept, self.ring, WallOffset::from_ns(0))?;
            }
        }
        Ok((dropped, unattributed))
    }

    fn has_events(&self, mark: Mark) -> bool {
        let mut sealed = self.sealed.iter();
        self.active.with_events.contains_key(&mark) || sealed.any(|s| s.has_events(mark))
    }

    /// Returns the sessions that would look open without their end in `victim`, because their beginning is
    /// elsewhere.
    fn unclosed_without(
        &self,
        victim: &Sealed,
        losses: &HashMap<Mark, Loss>,
    ) -> Result<HashSet<Mark>, SpoolError> {
        let is_named = |mark: &Mark| {
            let mut sealed = self.sealed.iter();
            self.active.named.contains(mark) || sealed.any(|s| s.named.binary_search(mark).is_ok())
        };
        let closes = |loss: &Loss| {
            let mut journal = loss.journal.iter();
            journal.any(|(entry, ..)| matches!(entry, JournalEntry::Closed(_)))
        };
        let marks = losses.iter().filter(|(_, loss)| closes(loss));
        let marks: Vec<Mark> = marks.map(|(mark, _)| *mark).filter(is_named).collect();
        unclosed_without(&self.config.dir, victim.files.number, marks)
    }

    /// Copies into `kept` what must outlive the segment.
    fn keep(
        &self,
        victim: &Sealed,
        losses: HashMap<Mark, Loss>,
        kept: &mut BatchBuilder,
    ) -> Result<(), SpoolError> {
        let boot_id = self.config.boot_id;
        let unclosed = self.unclosed_without(victim, &losses)?;
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
            let elsewhere = loss.carried || self.has_events(mark) || unclosed.contains(&mark);
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
            // The beginning of an open session is at the head of the active segment already. An end says that it was
            // not recorded at first; behind the beginning it would be the end of what is recorded since.
            let journal = journal
                .into_iter()
                .filter(|(entry, _, _)| !live || matches!(entry, JournalEntry::Gap(_)));
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
