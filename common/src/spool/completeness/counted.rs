//! Finds missing events of a session from its counters alone.

use super::{Completeness, Last, Ledger, MissingRange};
use crate::session::GapCause;
use crate::spool::SessionRecord;

/// Finds the number of missing events of a session without reading its events.
///
/// Used for lists, and for sessions without stored events. Returns the number that
/// [`completeness`](super::completeness) returns, but not between which events. If a gap without
/// numbers may be the cause of missing events, the result says that more may be missing.
pub fn counted(session: &SessionRecord) -> Completeness {
    let produced = session.closed.as_ref().and_then(|closed| closed.produced);
    let last = session.last_at.map(|at| Last {
        seq: session.last_seq,
        at,
    });
    let mut ledger = Ledger::new(session, session.gaps.iter().collect(), last);
    ledger.stamped_late();
    ledger.missing_count(session.stored, produced);
    ledger.without_numbers(produced);
    ledger.unknown_end(produced);
    ledger.result()
}

impl Ledger<'_> {
    fn missing_count(&mut self, stored: u64, produced: Option<u64>) {
        let missing = self.last_number(produced).saturating_sub(stored);
        if missing == 0 {
            return;
        }
        self.unnumbered = missing.saturating_sub(self.named_count());
        if self.unnumbered > 0 {
            self.may_explain();
        }
        self.ranges.push(MissingRange {
            count: Some(missing),
            from: self.begin(),
            to: self.end(),
            cause: None,
        });
    }

    /// Counts a possible cause of missing numbers as their cause, and also as a gap of unknown
    /// size.
    fn may_explain(&mut self) {
        for (gap, explains) in self.gaps.iter().zip(&mut self.explains) {
            if gap.cause == GapCause::SpoolDamaged && gap.first_seq.is_none() {
                *explains = true;
                self.ranges.push(MissingRange {
                    count: None,
                    from: gap.from,
                    to: gap.to,
                    cause: Some(gap.cause),
                });
            }
        }
    }

    /// Returns how many numbers the gaps name, each counted once.
    fn named_count(&self) -> u64 {
        let mut named: Vec<_> = (self.gaps.iter())
            .filter(|gap| gap.session.is_some())
            .filter_map(|gap| Some((gap.first_seq?.max(1), gap.last_seq?)))
            .filter(|(first, last)| first <= last)
            .collect();
        named.sort_unstable();
        let (mut count, mut counted_to) = (0_u64, 0);
        for (first, last) in named {
            let first = first.max(counted_to + 1);
            if let Some(more) = last.checked_sub(first) {
                count = count.saturating_add(more).saturating_add(1);
                counted_to = last;
            }
            if counted_to == u64::MAX {
                break;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::completeness;
    use super::super::tests::{closed, gap, numbered, session, timeline};
    use super::*;
    use crate::session::{Gap, Stamp};

    /// Returns how many events are missing, and whether there may be more; `None` when no event is
    /// missing.
    fn missing(answer: &Completeness) -> Option<(u64, bool)> {
        let Completeness::Missing(ranges) = answer else {
            return None;
        };
        let counts = || ranges.iter().map(|range| range.count);
        Some((counts().flatten().sum(), counts().any(|c| c.is_none())))
    }

    /// Whether each number from 1 on is stored, lost with a gap that names it, or lost without one.
    fn numbers() -> impl Strategy<Value = Vec<(bool, bool)>> {
        vec((prop::bool::weighted(0.8), any::<bool>()), 0..12)
    }

    fn unnumbered_gap() -> impl Strategy<Value = Gap> {
        let causes = [
            GapCause::RingFull,
            GapCause::Undecodable,
            GapCause::ProbeSkipped,
            GapCause::ProbeAway,
            GapCause::SpoolDamaged,
        ];
        let of_session = any::<bool>();
        let events = prop::option::of(1_u64..4);
        (
            prop::sample::select(causes.to_vec()),
            events,
            of_session,
            0_u64..120,
        )
            .prop_map(|(cause, events, of_session, from)| Gap {
                session: gap(cause, None, 0, 0).session.filter(|_| of_session),
                ..gap(cause, events, from, from + 20)
            })
    }

    proptest! {
        #[test]
        fn counters_find_as_many_as_events_or_report_maybe_more(
            numbers in numbers(),
            gaps in vec(unnumbered_gap(), 0..2),
            is_closed in any::<bool>(),
            is_counted in any::<bool>(),
            in_time in prop::bool::weighted(0.8),
        ) {
            let produced = is_counted.then_some(numbers.len() as u64);
            let mut record = if is_closed { closed(produced) } else { session() };
            record.gaps = gaps;
            if !in_time {
                record.opened.stamp = Stamp::Late;
            }
            let numbered_from_1 = || (1..).zip(&numbers);
            let lost = numbered_from_1().filter(|(_, (stored, named))| !stored && *named);
            record.gaps.extend(lost.map(|(n, _)| numbered(GapCause::RingFull, n, n)));
            let stored = numbered_from_1().filter(|(_, (stored, _))| *stored);
            let timeline = timeline(stored.map(|(n, _)| n));
            record.stored = timeline.events.len() as u64;
            let last = timeline.events.last().map(|last| &last.event);
            record.last_seq = last.map_or(0, |last| last.session_seq);
            record.last_at = last.map(|last| last.at);

            let exact = missing(&completeness(&record, &timeline));
            let counted = missing(&counted(&record));
            prop_assert_eq!(exact.is_some(), counted.is_some(), "{:?} {:?}", exact, counted);
            if let (Some(exact), Some(counted)) = (exact, counted) {
                prop_assert!(counted.0 <= exact.0, "{:?} {:?}", exact, counted);
                prop_assert!(counted.1 || counted == exact, "{:?} {:?}", exact, counted);
            }
        }
    }

    #[test]
    fn what_all_is_stored_is_complete_and_what_is_not_is_counted() {
        let mut record = closed(3);
        (record.stored, record.last_seq) = (3, 3);
        assert_eq!(counted(&record), Completeness::Complete);
        record.stored = 1;
        assert_eq!(missing(&counted(&record)), Some((2, false)));
        record.gaps = vec![numbered(GapCause::SpoolCap, 1, 2)];
        assert_eq!(missing(&counted(&record)), Some((2, false)));
    }

    #[test]
    fn named_numbers_of_any_size_are_counted_once() {
        let mut record = closed(None);
        record.gaps = vec![
            numbered(GapCause::SpoolCap, 1, 5),
            numbered(GapCause::RingFull, 4, 6),
            gap(GapCause::SpoolCap, None, 0, 0).with_numbers(6, u64::MAX),
        ];
        let (count, _) = missing(&counted(&record)).unwrap();
        assert_eq!(count, u64::MAX);
    }
}
