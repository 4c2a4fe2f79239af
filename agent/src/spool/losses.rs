//! The losses with a segment, session by session.

use std::collections::HashMap;

use vctl_common::id::{BootId, CertSerial, SessionId};
use vctl_common::session::{Gap, GapCause, JournalEntry};
use vctl_common::spool::{BlockEntry, Segment, journal_lines, payload};
use vctl_common::time::WallOffset;
use vctl_common::wire::Mark;

use super::batch::BatchBuilder;
use super::error::SpoolError;
use super::position::Position;

/// The loss of one session with a segment.
#[derive(Default)]
pub(super) struct Loss {
    pub(super) serial: Option<CertSerial>,
    pub(super) id: Option<SessionId>,
    /// Events that are stored nowhere else.
    pub(super) dropped: Option<Gap>,
    /// Events that the centre has.
    pub(super) shipped: Option<Gap>,
    /// Some of its events are copied.
    pub(super) carried: bool,
    /// The clocks at the last of its events.
    pub(super) wall: Option<WallOffset>,
    /// Its journal in the segment, each entry with the clocks and the boot in which it was written.
    pub(super) journal: Journal,
}

pub(super) type Journal = Vec<(JournalEntry, WallOffset, BootId)>;

/// Reads the content of each session in a segment that will be dropped; mark 0 is no session. Events of
/// sessions that stay are copied into `kept`, except shipped ones.
pub(super) fn losses(
    segment: &Segment,
    shipped: Option<Position>,
    stays: impl Fn(Mark) -> bool,
    kept: &mut BatchBuilder,
) -> Result<HashMap<Mark, Loss>, SpoolError> {
    let failed = |source| SpoolError::write(&segment.files.segment, source);
    let file = segment.open().map_err(failed)?;
    let mut losses: HashMap<Mark, Loss> = HashMap::new();
    for entry in segment.entries() {
        let loss = losses.entry(entry.mark()).or_default();
        loss.serial = loss.serial.or(entry.serial());
        if entry.is_events() {
            let number = segment.files.number;
            let is_shipped = shipped.is_some_and(|shipped| shipped.includes(number, entry.end()));
            if !is_shipped
                && stays(entry.mark())
                && let Some(payload) = payload(&file, entry).map_err(failed)?
            {
                kept.carry_events(entry, &payload);
                loss.carried = true;
                loss.wall = Some(entry.wall_offset());
                continue;
            }
            let (gap, cause) = if is_shipped {
                (&mut loss.shipped, GapCause::Shipped)
            } else {
                (&mut loss.dropped, GapCause::SpoolCap)
            };
            add_events(gap, cause, entry);
            loss.wall = Some(entry.wall_offset());
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

fn add_events(gap: &mut Option<Gap>, cause: GapCause, entry: &BlockEntry) {
    let of_block = entry.gap(cause, None);
    *gap = Some(match gap.take() {
        Some(gap) => join(&gap, &of_block),
        None => of_block,
    });
}

/// Returns one gap over both, with the sum of their events. Its first and last number are those of the two, and numbers
/// in between may be stored.
pub(crate) fn join(a: &Gap, b: &Gap) -> Gap {
    Gap {
        events: a.events.zip(b.events).map(|(a, b)| a.saturating_add(b)),
        first_seq: a.first_seq.min(b.first_seq),
        last_seq: a.last_seq.max(b.last_seq),
        from: a.from.min(b.from),
        to: a.to.max(b.to),
        ..a.clone()
    }
}

/// Merges the gaps of one cause of a session, dropped or shipped: a long session would collect them for ever.
pub(super) fn merge(
    journal: Journal,
    cause: GapCause,
    gap: Option<Gap>,
    boot_id: BootId,
) -> (Journal, Option<(Gap, BootId)>) {
    let mut merged = gap.map(|gap| (gap, boot_id));
    let mut rest = Vec::new();
    for (entry, wall, of) in journal {
        match (entry, &merged) {
            (JournalEntry::Gap(earlier), None) if earlier.cause == cause => {
                merged = Some((earlier, of));
            }
            (JournalEntry::Gap(earlier), Some((gap, _)))
                if earlier.cause == cause && may_join(&earlier, gap) =>
            {
                merged = Some((join(gap, &earlier), of));
            }
            (entry, _) => rest.push((entry, wall, of)),
        }
    }
    (rest, merged)
}

/// Shipped and dropped parts can alternate, and a merged gap must not hide one of them.
fn may_join(earlier: &Gap, later: &Gap) -> bool {
    later.cause == GapCause::SpoolCap
        || earlier
            .last_seq
            .zip(later.first_seq)
            .is_some_and(|(last, first)| last.saturating_add(1) >= first)
}

/// Merges many gaps of one cause into one over their whole time: copies from segment to segment must stay
/// small, and too large a gap is better than too small a one.
pub(super) fn condense(journal: Journal) -> Journal {
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
                    // Numbers in between may be stored: only the time is true for all of them.
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

/// Most journal entries of one session that are copied one by one.
const MOST_CARRIED: usize = 256;
