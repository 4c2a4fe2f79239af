//! Checks whether all events that the kernel produced for a session are stored, and finds the
//! missing ones.

mod counted;

pub use counted::counted;

use super::record::SessionRecord;
use super::timeline::Timeline;
use crate::session::{Gap, GapCause, Stamp};
use crate::time::BootNs;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// The session is closed, and all events are stored.
    Complete,
    /// The session is open, and no event is missing so far.
    StillOpen,
    /// Oldest first, never empty.
    Missing(Vec<MissingRange>),
}

/// Missing events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRange {
    /// `None` when the number, or even whether events are missing, cannot be known.
    pub count: Option<u64>,
    pub from: BootNs,
    pub to: BootNs,
    /// `None` when no recorded gap explains it.
    pub cause: Option<GapCause>,
}

/// Finds the missing events of a session.
///
/// The sequence numbers decide: each number from 1 to the last one that is not stored is missing,
/// whether or not a gap was recorded. Recorded gaps give the cause, and add losses that have no
/// sequence number: a login stamped late, or a time without a probe. So no event is counted twice.
///
/// A gap without a session counts for every session of its time, unless the numbers prove that this
/// session lost no event to it.
pub fn completeness(session: &SessionRecord, timeline: &Timeline) -> Completeness {
    let produced = session.closed.as_ref().and_then(|closed| closed.produced);
    let gaps = session.gaps.iter().chain(&timeline.damaged).collect();
    let last = timeline.events.last().map(|last| Last {
        seq: last.event.session_seq,
        at: last.event.at,
    });
    let mut ledger = Ledger::new(session, gaps, last);
    ledger.stamped_late();
    ledger.missing_numbers(timeline, produced);
    ledger.without_numbers(produced);
    ledger.unknown_end(produced);
    ledger.result()
}

struct Ledger<'a> {
    session: &'a SessionRecord,
    /// The stored event with the highest number.
    last: Option<Last>,
    gaps: Vec<&'a Gap>,
    /// Marks each of `gaps` that already explains missing numbers.
    explains: Vec<bool>,
    ranges: Vec<MissingRange>,
    /// Missing numbers that no gap names.
    unnumbered: u64,
}

#[derive(Clone, Copy)]
struct Last {
    seq: u64,
    at: BootNs,
}

impl<'a> Ledger<'a> {
    fn new(session: &'a SessionRecord, gaps: Vec<&'a Gap>, last: Option<Last>) -> Self {
        Self {
            session,
            last,
            explains: vec![false; gaps.len()],
            gaps,
            ranges: Vec::new(),
            unnumbered: 0,
        }
    }

    fn result(mut self) -> Completeness {
        self.ranges.sort_by_key(|range| (range.from, range.to));
        match (self.ranges.is_empty(), &self.session.closed) {
            (false, _) => Completeness::Missing(self.ranges),
            (true, Some(_)) => Completeness::Complete,
            (true, None) => Completeness::StillOpen,
        }
    }

    fn begin(&self) -> BootNs {
        let opened = &self.session.opened;
        opened.marked_at.unwrap_or(opened.opened_at)
    }

    /// Returns the latest moment of which anything is known.
    fn end(&self) -> BootNs {
        let closed = self.session.closed.as_ref().map(|closed| closed.at);
        let last = self.last.map(|last| last.at);
        let gaps = self.gaps.iter().filter(|gap| gap.session.is_some());
        let gap = gaps.map(|gap| gap.to).max();
        closed.or(last.max(gap)).unwrap_or(self.begin())
    }

    fn stamped_late(&mut self) {
        let opened = &self.session.opened;
        if opened.stamp == Stamp::InTime {
            return;
        }
        let mut to = opened.marked_at.unwrap_or_else(|| self.end());
        let mut cause = GapCause::StampedLate;
        for (gap, explains) in self.gaps.iter().zip(&mut self.explains) {
            let unasked = gap.cause == GapCause::LoginWithoutStamp;
            let is_late = unasked || gap.cause == GapCause::StampedLate;
            // A later one has a range of its own: a process without a mark was found there.
            if gap.session.is_some() && is_late && gap.from <= to {
                *explains = true;
                to = to.max(gap.to);
                if unasked {
                    cause = gap.cause;
                }
            }
        }
        self.ranges.push(MissingRange {
            count: None,
            from: opened.opened_at,
            to: to.max(opened.opened_at),
            cause: Some(cause),
        });
    }

    /// Returns the highest number that was certainly used.
    fn last_number(&self, produced: Option<u64>) -> u64 {
        let last_seen = self.last.map(|last| last.seq);
        let named = self.gaps.iter().filter(|gap| gap.session.is_some());
        let last_named = named.filter_map(|gap| gap.last_seq).max();
        produced.max(last_seen).max(last_named).unwrap_or(0)
    }

    fn missing_numbers(&mut self, timeline: &Timeline, produced: Option<u64>) {
        let last = self.last_number(produced);
        let (mut next, mut before) = (1, self.begin());
        for stored in &timeline.events {
            let (seq, at) = (stored.event.session_seq, stored.event.at);
            if seq > next {
                self.range(next, seq - 1, before, at);
            }
            next = next.max(seq.saturating_add(1));
            before = at;
        }
        if next <= last {
            let end = self.end();
            self.range(next, last, before, end);
        }
    }

    /// Adds the numbers from `first` to `last` as missing, split by the known cause of each.
    fn range(&mut self, first: u64, last: u64, before: BootNs, after: BootNs) {
        let (before, after) = (before.min(after), before.max(after));
        let mut named: Vec<_> = (0..self.gaps.len())
            .filter_map(|i| {
                let gap = self.gaps[i];
                let (from, to) = (gap.first_seq?.max(first), gap.last_seq?.min(last));
                (gap.session.is_some() && from <= to).then_some((from, to, i))
            })
            .collect();
        named.sort_unstable();
        let mut next = first;
        for (from, to, i) in named {
            if to < next {
                self.explains[i] = true;
                continue;
            }
            if from > next {
                self.unnamed(from - next, before, after);
            }
            let from = from.max(next);
            self.explains[i] = true;
            self.named(self.gaps[i], to - from + 1, from > first && from == next);
            // `last` is at most `u64::MAX`, and no number follows that.
            let Some(following) = to.checked_add(1) else {
                return;
            };
            next = following;
        }
        if next <= last {
            self.unnamed((last - next).saturating_add(1), before, after);
        }
    }

    /// Segments that were dropped one after another count as one range.
    fn named(&mut self, gap: &Gap, count: u64, follows: bool) {
        match self.ranges.last_mut() {
            Some(range) if follows && range.cause == Some(gap.cause) => {
                range.count = range.count.map(|before| before.saturating_add(count));
                range.from = range.from.min(gap.from);
                range.to = range.to.max(gap.to);
            }
            _ => self.ranges.push(MissingRange {
                count: Some(count),
                from: gap.from,
                to: gap.to,
                cause: Some(gap.cause),
            }),
        }
    }

    fn unnamed(&mut self, count: u64, before: BootNs, after: BootNs) {
        self.unnumbered = self.unnumbered.saturating_add(count);
        let overlaps = |gap: &Gap| {
            takes_numbers(gap.cause)
                && gap.first_seq.is_none()
                && gap.from <= after
                && gap.to >= before
        };
        let mut cause = None;
        for own in [true, false] {
            for (gap, explains) in self.gaps.iter().zip(&mut self.explains) {
                if gap.session.is_some() == own && overlaps(gap) && (own || cause.is_none()) {
                    cause = cause.or(Some(gap.cause));
                    *explains = true;
                }
            }
        }
        self.ranges.push(MissingRange {
            count: Some(count),
            from: before,
            to: after,
            cause,
        });
    }

    fn without_numbers(&mut self, produced: Option<u64>) {
        let mut counted = 0_u64;
        let mut last_counted = None;
        for (i, &gap) in self.gaps.iter().enumerate() {
            let own = gap.session.is_some();
            let numbered = takes_numbers(gap.cause);
            if own && numbered && gap.first_seq.is_none() {
                counted = counted.saturating_add(gap.events.unwrap_or(0));
                last_counted = Some(gap);
            }
            // If all numbers are stored or already counted, no event is missing here. Damage may
            // have hidden a journal entry, which has no number.
            let settled = numbered
                && (gap.first_seq.is_some() && own
                    || gap.cause != GapCause::SpoolDamaged
                        && (produced.is_some() || own && gap.events.is_some()));
            // A login without a session took no events from other sessions.
            let of_others = gap.cause == GapCause::LoginWithoutStamp && !own;
            if self.explains[i] || settled || of_others {
                continue;
            }
            self.ranges.push(MissingRange {
                count: gap.events.filter(|_| own),
                from: gap.from,
                to: gap.to,
                cause: Some(gap.cause),
            });
        }
        // If the last number is unknown, events lost at the end leave no range between numbers.
        let beyond = counted.saturating_sub(self.unnumbered);
        if let (None, Some(gap), 1..) = (produced, last_counted, beyond) {
            self.ranges.push(MissingRange {
                count: Some(beyond),
                from: gap.from,
                to: gap.to,
                cause: Some(gap.cause),
            });
        }
    }

    /// Without the kernel's own count, events after the last stored one may be missing.
    fn unknown_end(&mut self, produced: Option<u64>) {
        let Some(closed) = &self.session.closed else {
            return;
        };
        if produced.is_some() || self.session.opened.stamp == Stamp::Missed {
            return;
        }
        let from = self.last.map_or(self.begin(), |last| last.at);
        self.ranges.push(MissingRange {
            count: None,
            from,
            to: closed.at.max(from),
            cause: None,
        });
    }
}

/// Returns whether the kernel had numbered the events before they were lost.
fn takes_numbers(cause: GapCause) -> bool {
    match cause {
        GapCause::RingFull
        | GapCause::Undecodable
        | GapCause::SpoolCap
        | GapCause::SpoolDamaged
        | GapCause::StreamLost
        | GapCause::CentreLost
        | GapCause::Shipped => true,
        GapCause::ProbeSkipped
        | GapCause::MarksFull
        | GapCause::StampedLate
        | GapCause::LoginWithoutStamp
        | GapCause::ProbeAway => false,
    }
}

#[cfg(test)]
mod tests;
