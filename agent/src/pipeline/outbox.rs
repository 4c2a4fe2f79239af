//! Journal entries that wait for the spool. Pure.
//!
//! The collector counts a gap as reported and a session as ended once the entry is here, so none of these may be lost. Each
//! session has few, so beyond the limit they are merged by session and cause, and the memory stays bounded.

use std::collections::{BTreeMap, VecDeque};

use vctl_common::id::SessionId;
use vctl_common::session::{Gap, GapCause, JournalEntry, SessionClosed};

use crate::spool::join;

/// Entries that wait one by one: a few for each possible session.
const ENTRIES: usize = 4 * 8192;
/// Most bytes of the beginnings of sessions among them: the agent has 128 MiB.
const OPENED_BYTES: usize = 16 << 20;

/// Session and cause of a gap, and whether it has numbers: with numbers it is exact, and without its size is unknown.
type Kind = (Option<SessionId>, GapCause, bool);

/// The entries, in the order in which they go to the spool.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    entries: VecDeque<JournalEntry>,
    /// Bytes of the beginnings of sessions among them, as JSON.
    opened_bytes: usize,
    /// Gaps beyond the limit.
    merged: BTreeMap<Kind, Gap>,
    /// Ends beyond the limit. No session begins while there are any, so there are no more than open sessions.
    ends: Vec<SessionClosed>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.is_over_limit()
    }

    /// Adds the beginning of a session, of `len` bytes, before all others but behind those of its own session. Returns false,
    /// and adds nothing, when too much waits.
    pub(super) fn begin(&mut self, opened: JournalEntry, len: usize) -> bool {
        if self.is_full() || self.opened_bytes + len > OPENED_BYTES {
            return false;
        }
        self.opened_bytes += len;
        // A session that is opened again goes on behind its first end.
        let id = ended_or_opened(&opened);
        let mut entries = self.entries.iter();
        let before = entries.rposition(|one| id.is_some() && ended_or_opened(one) == id);
        self.entries
            .insert(before.map_or(0, |before| before + 1), opened);
        true
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        if !self.is_full() {
            self.entries.push_back(JournalEntry::Gap(gap));
            return;
        }
        let kind = (gap.session, gap.cause, gap.first_seq.is_some());
        match self.merged.get_mut(&kind) {
            Some(earlier) => *earlier = join(earlier, &gap),
            None => {
                self.merged.insert(kind, gap);
            }
        }
    }

    pub(super) fn end(&mut self, closed: SessionClosed) {
        if self.is_full() {
            self.ends.push(closed);
        } else {
            self.entries.push_back(JournalEntry::Closed(closed));
        }
    }

    /// Takes the next entry. The gaps of a session come before its end.
    pub(super) fn take(&mut self) -> Option<JournalEntry> {
        if let Some(entry) = self.entries.pop_front() {
            return Some(entry);
        }
        self.opened_bytes = 0;
        if let Some((_, gap)) = self.merged.pop_first() {
            return Some(JournalEntry::Gap(gap));
        }
        self.ends.pop().map(JournalEntry::Closed)
    }

    /// Entries that follow a merged gap are merged too: otherwise the end of a session could come before its gap.
    fn is_full(&self) -> bool {
        self.entries.len() >= ENTRIES || self.is_over_limit()
    }

    fn is_over_limit(&self) -> bool {
        !self.merged.is_empty() || !self.ends.is_empty()
    }
}

fn ended_or_opened(entry: &JournalEntry) -> Option<SessionId> {
    match entry {
        JournalEntry::Opened(opened) => Some(opened.id),
        JournalEntry::Closed(closed) => Some(closed.id),
        JournalEntry::Gap(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vctl_common::session::{CloseReason, SessionOpened};
    use vctl_common::time::BootNs;

    fn numbered(session: SessionId, at: u64) -> Gap {
        let gap = Gap::new(GapCause::RingFull, session, BootNs(at), BootNs(at + 1));
        gap.with_events(2).with_numbers(at, at + 1)
    }

    fn ended(id: SessionId) -> SessionClosed {
        SessionClosed {
            id,
            at: BootNs(9),
            reason: CloseReason::LastProcessEnded,
            produced: None,
            stored: 0,
            leader_ended_at: None,
            requested: None,
        }
    }

    #[test]
    fn beyond_the_limit_gaps_are_merged_and_no_end_is_lost() {
        let [lossy, other] = [SessionId::generate(), SessionId::generate()];
        let mut outbox = Outbox::default();
        let count = ENTRIES as u64 + 1000;
        for at in 0..count {
            outbox.gap(numbered(lossy, 10 + 3 * at));
        }
        let unnumbered = Gap::new(GapCause::MarksFull, other, BootNs(3), BootNs(4));
        for _ in 0..5 {
            outbox.gap(unnumbered.clone());
        }
        outbox.end(ended(other));
        let begin = JournalEntry::Opened(Box::new(SessionOpened::unknown(other, BootNs(1))));
        assert!(!outbox.begin(begin, 1));
        let all: Vec<JournalEntry> = std::iter::from_fn(|| outbox.take()).collect();
        assert!(outbox.is_empty());
        assert_eq!(all.len(), ENTRIES + 3);
        let (mut events, mut last) = (0, 0);
        for entry in &all {
            if let JournalEntry::Gap(gap) = entry
                && gap.session == Some(lossy)
            {
                events += gap.events.unwrap();
                last = gap.last_seq.unwrap();
            }
        }
        assert_eq!((events, last), (2 * count, 10 + 3 * (count - 1) + 1));
        assert!(all.contains(&JournalEntry::Gap(unnumbered)));
        assert_eq!(all.last(), Some(&JournalEntry::Closed(ended(other))));
    }

    #[test]
    fn a_second_beginning_stays_behind_the_first_end() {
        let [again, other] = [SessionId::generate(), SessionId::generate()];
        let opened = |id| JournalEntry::Opened(Box::new(SessionOpened::unknown(id, BootNs(1))));
        let mut outbox = Outbox::default();
        assert!(outbox.begin(opened(again), 1));
        outbox.end(ended(again));
        assert!(outbox.begin(opened(again), 1));
        assert!(outbox.begin(opened(other), 1));
        let all: Vec<JournalEntry> = std::iter::from_fn(|| outbox.take()).collect();
        let end = JournalEntry::Closed(ended(again));
        let expected = [opened(other), opened(again), end, opened(again)];
        assert_eq!(all, expected);
    }
}
