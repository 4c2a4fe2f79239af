//! What goes when the spool is at its cap, and what is kept of it.

use std::collections::HashMap;

use vctl_common::id::{BootId, CertSerial, SessionId};
use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::spool::{BlockEntry, Look, Segment, SegmentFiles, journal_lines, payload};
use vctl_common::time::{BootNs, WallOffset};
use vctl_common::wire::Mark;

use super::active::Active;
use super::batch::BatchBuilder;
use super::disk::Disk;
use super::writer::{SpoolError, SpoolWriter};

/// A finished segment, as far as dropping it needs to know it.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) files: SegmentFiles,
    pub(super) bytes: u64,
    boot_id: BootId,
    /// Sessions with events in it, sorted.
    with_events: Vec<Mark>,
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
        }
    }
}

/// What one session loses with a segment.
#[derive(Default)]
struct Loss {
    serial: Option<CertSerial>,
    id: Option<SessionId>,
    events: Option<Gap>,
    /// Its journal there, each entry with the clocks and the boot it was written in.
    journal: Vec<(JournalEntry, WallOffset, BootId)>,
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
        let closed = |sealed: &Sealed| {
            // Not by the journal: every head names every session that was open then.
            let mut marks = sealed.with_events.iter();
            !marks.any(|mark| self.live.contains_key(mark))
        };
        let nth = self.sealed.iter().position(closed).unwrap_or(0);
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
            let losses = losses(&segment)?;
            let counts = |loss: &Loss| loss.events.as_ref().and_then(|gap| gap.events);
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
            "Dropped a spool segment at the cap."
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
            if loss.events.is_none() && !elsewhere && !live {
                continue;
            }
            let wall = loss.journal.last().map(|(_, wall, _)| *wall);
            let gap = loss.events.map(|mut gap| {
                gap.session = loss
                    .id
                    .or_else(|| self.live.get(&mark).map(|live| live.opened.id));
                gap
            });
            let (journal, gap) = merge_dropped(condense(loss.journal), gap, victim.boot_id);
            // An open session's beginning is at the head of the active segment already.
            let journal = journal
                .into_iter()
                .filter(|(entry, _, _)| !(live && matches!(entry, JournalEntry::Opened(_))));
            let gap = gap.map(|(gap, of)| {
                let wall = wall.unwrap_or(WallOffset::from_ns(0));
                (JournalEntry::Gap(gap), wall, of)
            });
            carry(kept, mark, loss.serial, boot_id, journal.chain(gap))?;
        }
        Ok(())
    }
}

/// Reads what each session has in a segment that is to go; mark 0 is nobody.
fn losses(segment: &Segment) -> Result<HashMap<Mark, Loss>, SpoolError> {
    let failed = |source| SpoolError::write(&segment.files.segment, source);
    let file = segment.open().map_err(failed)?;
    let mut losses: HashMap<Mark, Loss> = HashMap::new();
    for entry in segment.entries() {
        let loss = losses.entry(entry.mark()).or_default();
        loss.serial = loss.serial.or(entry.serial());
        if entry.is_events() {
            add_events(&mut loss.events, entry);
        }
        if !entry.is_journal() {
            continue;
        }
        let Some(payload) = payload(&file, entry).map_err(failed)? else {
            continue;
        };
        for line in journal_lines(entry.kind(), &payload).flatten() {
            let boot_id = line.boot_id.unwrap_or(segment.header.boot_id());
            loss.id = loss.id.or(match &line.entry {
                JournalEntry::Opened(opened) => Some(opened.id),
                JournalEntry::Closed(closed) => Some(closed.id),
                JournalEntry::Gap(gap) => gap.session,
            });
            let known = loss.journal.iter().any(|(entry, ..)| *entry == line.entry);
            if !known {
                loss.journal
                    .push((line.entry, entry.wall_offset(), boot_id));
            }
        }
    }
    Ok(losses)
}

fn add_events(gap: &mut Option<Gap>, entry: &BlockEntry) {
    let of_block = Gap {
        session: None,
        cause: GapCause::SpoolCap,
        events: Some(entry.count()),
        first_seq: Some(entry.first_seq()),
        last_seq: Some(entry.last_seq()),
        cpu: None,
        from: entry.first_at(),
        to: entry.last_at(),
    };
    *gap = Some(match gap.take() {
        Some(gap) => join(&gap, &of_block),
        None => of_block,
    });
}

fn join(a: &Gap, b: &Gap) -> Gap {
    Gap {
        events: a.events.zip(b.events).map(|(a, b)| a.saturating_add(b)),
        first_seq: a.first_seq.min(b.first_seq),
        last_seq: a.last_seq.max(b.last_seq),
        from: a.from.min(b.from),
        to: a.to.max(b.to),
        ..a.clone()
    }
}

type Journal = Vec<(JournalEntry, WallOffset, BootId)>;

/// Makes one gap of all that was dropped of a session, or a long one would collect them for ever.
fn merge_dropped(
    journal: Journal,
    gap: Option<Gap>,
    boot_id: BootId,
) -> (Journal, Option<(Gap, BootId)>) {
    let mut merged = gap.map(|gap| (gap, boot_id));
    let mut rest = Vec::new();
    for (entry, wall, of) in journal {
        match entry {
            JournalEntry::Gap(earlier) if earlier.cause == GapCause::SpoolCap => {
                merged = Some(match merged {
                    Some((gap, _)) => (join(&gap, &earlier), of),
                    None => (earlier, of),
                });
            }
            entry => rest.push((entry, wall, of)),
        }
    }
    (rest, merged)
}

/// Makes many gaps of one cause into one over all their time: what is carried from segment to
/// segment must stay small, and too much called missing is better than too little.
fn condense(journal: Journal) -> Journal {
    if journal.len() <= MOST_CARRIED {
        return journal;
    }
    let mut condensed = Journal::new();
    for (entry, wall, of) in journal {
        let JournalEntry::Gap(gap) = &entry else {
            condensed.push((entry, wall, of));
            continue;
        };
        let same = condensed
            .iter_mut()
            .find_map(|(known, _, known_of)| match known {
                JournalEntry::Gap(known) if known.cause == gap.cause && *known_of == of => {
                    Some(known)
                }
                _ => None,
            });
        match same {
            Some(known) => {
                *known = Gap {
                    // Numbers in between may be stored: only a time can be told of all of them.
                    first_seq: None,
                    last_seq: None,
                    ..join(known, gap)
                }
            }
            None => condensed.push((entry, wall, of)),
        }
    }
    condensed
}

/// Journal entries of one session that are carried one by one.
const MOST_CARRIED: usize = 256;

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
