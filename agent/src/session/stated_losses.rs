//! The losses of a session that are stated in the record, and when it states the next ones. Pure.
//!
//! A session can lose events all its life. Each statement is an entry in the spool that every start of the agent reads, so
//! the statements become rare. The counts stay exact, and the end of the session states the rest.

use std::time::Duration;

use vctl_common::session::{Gap, GapCause};
use vctl_common::time::BootNs;

/// Statements without an interval: the watch of losses makes one a second at most.
const AT_ONCE: u32 = 60;
/// Statements after these at [`MINUTE`]; all later ones at [`HOUR`].
const BY_MINUTE: u32 = 60;
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// The stated losses of one session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatedLosses {
    /// Number of forks without a mark for the child: the map was full.
    unmarked_forks: u64,
    /// End of the gap of these forks. `None` before the first one.
    unmarked_to: Option<BootNs>,
    statements: u32,
    stated_at: BootNs,
}

impl StatedLosses {
    /// Continues behind the gaps that an earlier agent stated. `begin` is when the session was marked.
    ///
    /// No gap says how many forks it covers. So all of them count as new, in one more gap behind the others.
    pub fn after(begin: BootNs, gaps: &[Gap]) -> Self {
        let unmarked = gaps
            .iter()
            .filter(|gap| gap.session.is_some() && gap.cause == GapCause::MarksFull);
        let mut unmarked: Vec<_> = unmarked.map(|gap| (gap.from, gap.to)).collect();
        unmarked.sort_unstable();
        let mut covered_to = begin;
        for (from, to) in &unmarked {
            // Behind a hole, a gap of another reason says nothing about the forks before it.
            if *from <= covered_to {
                covered_to = covered_to.max(*to);
            }
        }
        Self {
            unmarked_to: (covered_to > begin).then_some(covered_to),
            statements: u32::try_from(unmarked.len()).unwrap_or(u32::MAX),
            ..Self::default()
        }
    }

    /// Returns whether the kernel has counted forks that no gap covers.
    pub fn lacks_forks(&self, unmarked_forks: u64) -> bool {
        unmarked_forks > self.unmarked_forks
    }

    /// Returns when the next losses are stated at the earliest.
    pub fn due_at(&self) -> BootNs {
        let interval = if self.statements < AT_ONCE {
            Duration::ZERO
        } else if self.statements < AT_ONCE + BY_MINUTE {
            MINUTE
        } else {
            HOUR
        };
        let interval = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX);
        BootNs(self.stated_at.0.saturating_add(interval))
    }

    /// Takes forks as stated by a gap that ends `now`. Returns where it begins: at the end of the one before, else at
    /// `begin`.
    pub fn state_forks(&mut self, unmarked_forks: u64, begin: BootNs, now: BootNs) -> BootNs {
        self.unmarked_forks = unmarked_forks;
        self.unmarked_to.replace(now).unwrap_or(begin)
    }

    /// Notes that losses were stated.
    pub fn note_statement(&mut self, now: BootNs) {
        self.statements = self.statements.saturating_add(1);
        self.stated_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::id::SessionId;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn losses_of_a_month_are_few_statements() {
        let mut losses = StatedLosses::default();
        let mut stated = Vec::new();
        for second in 1..=30 * 86_400 {
            let now = BootNs(second * SECOND);
            if now >= losses.due_at() {
                losses.note_statement(now);
                stated.push(second);
            }
        }
        assert_eq!(stated[..3], [1, 2, 3]);
        assert_eq!(stated[60] - stated[59], 60);
        assert_eq!(stated[120] - stated[119], 3600);
        assert!(stated.len() < 900, "{}", stated.len());
    }

    #[test]
    fn the_next_agent_begins_where_the_stated_gaps_end() {
        let id = SessionId::generate();
        let unmarked = |from, to| Gap::new(GapCause::MarksFull, id, BootNs(from), BootNs(to));
        let ring = Gap::new(GapCause::RingFull, id, BootNs(50), BootNs(60));
        let begin = |gaps: &[Gap]| {
            let mut losses = StatedLosses::after(BootNs(10), gaps);
            assert!(losses.lacks_forks(1));
            losses.state_forks(1, BootNs(10), BootNs(99)).0
        };
        assert_eq!(begin(&[]), 10);
        assert_eq!(begin(&[ring, unmarked(20, 30), unmarked(10, 20)]), 30);
        // Gaps of an earlier version are nested.
        assert_eq!(begin(&[unmarked(10, 20), unmarked(10, 40)]), 40);
        // Of a late login that the kernel had no room for: forks before it are not covered.
        assert_eq!(begin(&[unmarked(15, 20)]), 10);
    }
}
